"""The forms of secrets: where one may begin, and how it goes on.

Time is linear: beginnings are searched for first, and a form is tried only at one of them, at the
left border of a word, over a bounded length. Each form begins with a plain literal, which `re`
finds ten times as fast as an alternation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlm_mcp.redact.checks import CHECKS

_LONGEST = 500
"""Characters of the longest secret that is searched for in the rest of a line."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands in a text."""

    start: int
    end: int
    kind: str


class Rule:
    """Forms of secrets that share a beginning.

    `form` is matched where `begin` was found; the one named group that matched is the secret and,
    without a digit at its end and with - for _, its kind. `CHECKS` may refuse it. `inside`: it may
    begin inside a word (DB_PASSWORD, fooAKIA…), for forms that no word has by chance. `sign` is a
    pattern for RE2 that begins where `begin` does, and at every secret: of many texts it leaves
    few to look at. Patterns are compiled at first use, in 5 ms. With `rest`, what stands behind
    `begin` on a line: the form is searched for in it, and no part of it is looked at twice,
    however often `begin` occurs there.
    """

    def __init__(
        self,
        begin: str,
        form: str,
        *,
        inside: bool = False,
        any_case: bool = False,
        sign: str = "",
        rest: str = "",
    ) -> None:
        self._begin, self._form, self._rest, self.sign = begin, form, rest, sign or begin
        self.inside, self.any_case = inside, any_case

    @functools.cached_property
    def begin(self) -> re.Pattern[str]:
        return re.compile(self._begin)

    @functools.cached_property
    def form(self) -> re.Pattern[str]:
        return re.compile(self._form, re.IGNORECASE if self.any_case else 0)

    @functools.cached_property
    def rest(self) -> re.Pattern[str]:
        return re.compile(self._rest, re.IGNORECASE if self.any_case else 0)

    def secrets(self, text: str, searched: str) -> Iterator[Secret]:
        """Yield the secrets in a text; `searched` is the text, or the text in lower case."""
        done = 0
        for place in self.begin.finditer(searched):
            at = place.start()
            before = text[at - 1] if at and not self.inside else " "
            if at < done or before.isalnum() or before in "_-":
                continue
            if not self._rest:
                yield from self._judged(self.form.match(text, at))
            elif rest := self.rest.match(text, at):
                done, start = rest.end(), rest.start("rest")
                while match := self.form.search(text, start, done + _LONGEST):
                    if match.start() >= done:
                        break
                    yield from self._judged(match)
                    start = max(match.end(), match.start() + 1)
                done = max(done, start)

    def _judged(self, match: re.Match[str] | None) -> Iterator[Secret]:
        """Yield the secret that a form found, unless it is refused."""
        if match is None or match.lastgroup is None:
            return
        check = CHECKS.get(match.lastgroup)
        if check is None or check(match[match.lastgroup], match[0]):
            kind = match.lastgroup.rstrip("0123456789").replace("_", "-")
            yield Secret(*match.span(match.lastgroup), kind)


_KEYWORD = (
    r"(?:pass(?:w(?:or)?d|phrase|wd)?|(?:client_?)?secret(?:_?(?:access_?)?key)?|token|credentials?"
    r"|(?:(?<=api)|(?<=api[_-])|(?<=access)|(?<=access[_-])|(?<=private[_-])|(?<=auth[_-])"
    r"|(?<=signing[_-])|(?<=encryption[_-]))key)(?:[_-]?(?:value|string|prod|dev|test|live|\d))?"
)

RULES = (
    Rule(
        r"-----BEGIN ",
        r"(?P<private_key>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?=(?:(?!-----)[\s\S]){0,300}?[A-Za-z0-9+/]{32})"
        r"(?:(?:(?!-----)[\s\S]){0,20000}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:[\s\\nr\"',+]{0,12}[A-Za-z0-9+/=]{16,}){1,400}))",
        inside=True,
    ),
    Rule(
        r"A(?:[KSBC][IC]A|Iza|GE-SEC)",
        r"(?P<aws_key>A[KSBC][IC]A[A-Z0-9]{16}(?![A-Za-z0-9]))"
        r"|(?P<google_key>AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-]))"
        r"|(?P<age_key>AGE-SECRET-KEY-1[A-Z0-9]{50,70})",
        inside=True,
    ),
    Rule(
        r"g(?:h[pousr]_|ithub_pat_|lpat-)",
        r"(?P<github_token>gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"
        r"|(?P<gitlab_token>glpat-[A-Za-z0-9_.-]{20,200})",
        inside=True,
    ),
    Rule(
        r"sk[-_]",
        r"(?P<anthropic_key>sk-ant-[A-Za-z0-9_-]{16,250})"
        r"|(?P<stripe_key>sk_(?:live|test)_[A-Za-z0-9]{16,250})"
        r"|(?P<openai_key>sk-(?:[a-z]{2,10}-)?[A-Za-z0-9_-]{20,250})",
    ),
    Rule(
        r"sk-ant-", r"(?P<anthropic_key>sk-ant-[a-z]{3,5}\d\d-[A-Za-z0-9_-]{16,250})", inside=True
    ),
    Rule(
        # The same and others in base64, as an orchestrator's secrets are kept.
        r"(?:c2stYW50L|QUtJQ|Z2hwX|Z2l0aHViX3BhdF|LS0tLS1CRUdJTi)",
        r"(?<![+/=])(?P<encoded_key>[A-Za-z0-9+/_-]{24,8000}={0,2})",
    ),
    Rule(r"rk_live_", r"(?P<stripe_key>rk_live_[A-Za-z0-9]{16,250})"),
    Rule(r"whsec_", r"(?P<stripe_key>whsec_[A-Za-z0-9+/=]{16,250})"),
    Rule(
        r"x(?:ox[abceoprs]|app)-",
        r"(?P<slack_token>(?:xox[abceoprs]|xapp)-[A-Za-z0-9-]{10,250})",
    ),
    Rule(
        r"hooks\.slack\.com/services/",
        r"hooks\.slack\.com/services/"
        r"(?P<slack_webhook>T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{16,40})",
    ),
    Rule(r"npm_", r"(?P<npm_token>npm_[A-Za-z0-9]{36}(?![A-Za-z0-9]))", inside=True),
    Rule(r"hf_", r"(?P<huggingface_token>hf_[A-Za-z0-9]{30,60}(?![A-Za-z0-9_]))"),
    Rule(r"pypi-AgE", r"(?P<pypi_token>pypi-AgE[A-Za-z0-9_-]{40,500})"),
    Rule(r"do[op]_v1_", r"(?P<digitalocean_token>do[op]_v1_[a-f0-9]{64})"),
    Rule(r"GOCSPX-", r"(?P<google_token>GOCSPX-[A-Za-z0-9_-]{20,60})"),
    Rule(r"ya29\.", r"(?P<google_token>ya29\.[A-Za-z0-9_-]{20,500})"),
    Rule(
        r"S(?:G\.|haredAccessKey=)",
        r"(?P<sendgrid_key>SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,50})"
        r"|SharedAccessKey=(?P<azure_key>[A-Za-z0-9+/]{40,90}={0,2})",
    ),
    Rule(r"AccountKey=", r"AccountKey=(?P<azure_key>[A-Za-z0-9+/]{40,90}={0,2})", inside=True),
    Rule(
        r"shp",
        r"(?P<shopify_token>shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32})",
    ),
    Rule(r"hvs\.", r"(?P<vault_token>hvs\.[A-Za-z0-9_-]{24,300})"),
    Rule(r"hvb\.", r"(?P<vault_token>hvb\.[A-Za-z0-9_-]{24,300})"),
    Rule(r"dapi", r"(?P<databricks_token>dapi[a-f0-9]{32}(?:-\d)?(?![A-Za-z0-9]))"),
    Rule(r"dckr_", r"(?P<docker_token>dckr_[po]at_[A-Za-z0-9_-]{20,60})"),
    Rule(r"lin_api_", r"(?P<linear_key>lin_api_[A-Za-z0-9]{32,60})"),
    Rule(r"rubygems_", r"(?P<rubygems_key>rubygems_[a-f0-9]{48})"),
    *(
        # Keys of services that serve models: a short word, then at least 32 random characters.
        Rule(word, rf"(?P<model_key>{word}[A-Za-z0-9_-]{{32,250}})")
        for word in ("gsk_", "xai-", "nvapi-", "pplx-", "r8_")
    ),
    Rule(
        r":AA",
        r"(?<=\d{8}):(?P<telegram_token>AA[A-Za-z0-9_-]{32,40})(?![A-Za-z0-9_-])",
        inside=True,
    ),
    Rule(
        r"machine ",
        r"machine {1,4}\S{1,200}\s{1,20}login {1,4}\S{1,100}\s{1,20}"
        r"password {1,4}(?P<password8>\S{4,200})",
    ),
    Rule(
        r"curl ",
        r"(?<![^ ])(?:-u|--user)[ =]{0,4}[\"']?[^\s:\"'$]{1,100}:(?P<password6>[^\s\"']{4,200})",
        rest=r"curl (?P<rest>[^\n|;]{0,9000})",
    ),
    Rule(
        r"mysql",
        r"(?<![^ ])-p[\"']?(?P<password7>[^\s\"']{4,100})",
        rest=r"mysql(?:dump|admin|import|show)? (?P<rest>[^\n|;]{0,9000})",
    ),
    Rule(
        r"\"auth\":",
        r"\"auth\":\s{0,4}\"(?P<basic_auth2>[A-Za-z0-9+/]{12,400}={0,2})\"",
        inside=True,
    ),
    Rule(
        r"cookie",
        r"(?<![\w.-])[\w.-]{0,40}(?:sess|auth|sid|token|jwt)[\w.-]{0,40}="
        r"(?P<cookie>[A-Za-z0-9%._~+/-]{16,500})",
        rest=r"cookie[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<rest>[^\n\"']{0,9000})",
        inside=True,
        any_case=True,
    ),
    Rule(
        r"eyJ",
        r"(?P<jwt>eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000})",
    ),
    Rule(
        r"://",
        r"://[^\s:/@\"'<>?#]{0,100}:(?P<url_password>[^\s:/@\"'<>?#]{3,200})@[A-Za-z0-9_\[.-]",
        inside=True,
        sign=r"://[^\x09-\x0d /@\"'<>?#]+@",
    ),
    Rule(
        r"bearer ",
        r"bearer {1,4}(?P<bearer>[A-Za-z0-9._~+/-]{16,4000}={0,2})",
        any_case=True,
    ),
    Rule(
        r"authorization",
        r"authorization[\"']?\s{0,4}[:=,]\s{0,4}[\"']?basic {1,4}"
        r"(?P<basic_auth>[A-Za-z0-9+/]{8,400}={0,2})",
        inside=True,
        any_case=True,
    ),
    *(
        Rule(
            word,
            _KEYWORD + r"(?:\\{0,4}[\"']?\]?\s{0,8}(?::\s{0,4}(?:str|string)\s{0,4}=|:=|=>|[=:])"
            r"\s{0,8}[bru@]?(?:\\{1,4}[\"'](?P<password5>[^\s\"'\\]{6,300})\\{1,4}[\"']"
            r"|\"(?P<password1>[^\s\"]{6,300})\"|'(?P<password2>[^\s']{6,300})'"
            r"|`(?P<password3>[^\s`]{6,300})`)"
            r"|(?:\s{0,4}=\s{0,4}|\s{0,4}:\s{1,4})(?P<password4>[A-Za-z0-9#@^%][\w!#%*+/?@^~=.-]{7,250}+"
            r"(?:&(?!\w{1,40}=)[\w!#%*+/?@^~=.-]{0,60}+){0,3}+)(?![^\s,;&)\]}\"']))",
            inside=True,
            any_case=True,
            sign=word + r"[a-z0-9_-]{0,28}\\{0,4}[\"']?\]?[\x09-\x0d\x1c-\x20]{0,8}[:=]",
        )
        for word in ("pass", "secret", "token", "key", "credential")
    ),
)
