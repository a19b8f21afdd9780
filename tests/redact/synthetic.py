"""Secrets that were made up, at least two of each form, and what they are written in.

They are put together at run time from random parts, so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import base64
import random
import re
import string

from rlm_mcp.redact.rules import Rule
from rlm_mcp.redact.token_forms import TOKENS

MIXED = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"
chance = random.Random(23)


def letters(size: int, alphabet: str = MIXED) -> str:
    """Return random characters of an alphabet, a digit and a letter among them if it has both."""
    wanted = [kind for kind in ("[0-9]", "[A-Za-z]") if re.search(kind, alphabet)]
    while True:
        made = "".join(chance.choice(alphabet) for _ in range(size))
        if size < 6 or all(re.search(kind, made) for kind in wanted):
            return made


def uuid() -> str:
    return "-".join(letters(size, HEX) for size in (8, 4, 4, 4, 12))


def _class(text: str) -> str:
    """Return the characters of a class of a pattern."""
    found, at = "", 0
    while at < len(text):
        if text.startswith("\\d", at):
            found, at = found + string.digits, at + 2
        elif at + 2 < len(text) and text[at + 1] == "-":
            found += "".join(map(chr, range(ord(text[at]), ord(text[at + 2]) + 1)))
            at += 3
        else:
            found, at = found + text[at], at + 1
    return found


def of_shape(form: str) -> str:
    """Return a text that a form of a token matches: each class as often as it must stand there."""
    made, at = "", 0
    while at < len(form):
        if form.startswith("(?!", at) or form.startswith("(?<=", at):
            at = form.index(")", at) + 1
            continue
        if form.startswith("(?:", at):
            depth, end = 1, at + 3
            while depth:
                depth += {"(": 1, ")": -1}.get(form[end], 0)
                end += 1
            inner, low, at = form[at + 3 : end - 1], 1, end
            if form[at : at + 1] == "?":
                low, at = 0, at + 1
            elif repeat := re.match(r"\{(\d+)[,\d]*\}", form[at:]):
                low, at = int(repeat[1]), at + repeat.end()
            choice = re.split(r"\|(?![^(]*\))", inner)[0]
            made += "".join(of_shape(choice) for _ in range(low))
            continue
        if form[at] == "[":
            end = form.index("]", at + 1)
            alphabet, at = _class(form[at + 1 : end]), end + 1
        elif form.startswith("\\d", at):
            alphabet, at = string.digits, at + 2
        else:
            at += form[at] == "\\"
            alphabet, at = form[at], at + 1
        low = 1
        if repeat := re.match(r"\{(\d+)[,\d]*\}", form[at:]):
            low, at = int(repeat[1]), at + repeat.end()
        elif form[at : at + 1] == "?":
            low, at = 0, at + 1
        made += letters(low, _simple(alphabet)) if len(alphabet) > 1 else alphabet * low
    return made


def _simple(alphabet: str) -> str:
    """Return letters and digits where an alphabet has them: no secret ends in a dot or a sign."""
    return "".join(char for char in alphabet if char.isalnum()) or alphabet


def token(rule: Rule) -> str:
    """Return a secret of a known form."""
    if rule.kind == "discord-token":
        number = base64.b64encode(letters(18, string.digits[1:]).encode()).decode()
        return f"{number}.{letters(6)}.{letters(38)}"
    if rule.kind == "telegram-token":
        return "AA" + letters(33)
    if rule.kind == "slack-webhook":
        return f"T{letters(8, UPPER)}/B{letters(8, UPPER)}/{letters(24)}"
    if rule.kind == "discord-webhook":
        return letters(68)
    if rule.kind == "teams-webhook":
        return f"{uuid()}@{uuid()}/IncomingWebhook/{letters(32, HEX)}/{uuid()}"
    if rule.kind == "heroku-key" and rule.any_case:
        return uuid()
    if rule.kind == "anthropic-key":
        return f"sk-ant-api03-{letters(93)}AA"
    if rule.kind == "jwt":
        return f"eyJ{letters(40)}.eyJ{letters(60)}.{letters(43)}"
    return of_shape(rule.form)


FRAMES = {
    "telegram-token": "https://api.telegram.org/bot123456789:{}/getMe",
    "slack-webhook": "https://hooks.slack.com/services/{}",
    "discord-webhook": "https://discord.com/api/webhooks/123456789012345678/{}",
    "teams-webhook": "https://acme.webhook.office.com/webhookb2/{}",
}
"""Where a secret stands that is known only there."""


def tokens() -> list[tuple[str, str, str]]:
    """Return kind, frame and secret, two for each rule of a token."""
    found = []
    for rule in TOKENS:
        for _ in range(2):
            frame = FRAMES.get(rule.kind, "{}")
            if rule.kind == "heroku-key" and rule.any_case:
                frame = "HEROKU_API_KEY={}"
            found.append((rule.kind, frame, token(rule)))
    return found


CARRIERS = {
    "env": "DEBUG=1\nSERVICE_VALUE={}\nPORT=80\n",
    "quoted env": "export SERVICE_VALUE='{}'\n",
    "yaml": "service:\n  value: {}\n  port: 80\n",
    "json": '{{"service": {{"value": "{}", "port": 80}}}}\n',
    "escaped json": '{{"body": "{{\\"value\\": \\"{}\\"}}"}}\n',
    "python": 'client = Client("{}", retries=3)\n',
    "shell": "curl -H 'X-Value: {}' https://api.invalid/v1/me\n",
    "url": "https://api.invalid/v1/me?value={}&page=2\n",
    "log": "2026-11-30T12:00:00Z INFO sent {} to worker 7\n",
    "header": "GET /v1 HTTP/1.1\nX-Value: {}\nAccept: */*\n",
    "csv": "name,value,note\nada,{},first\n",
    "xml": "<value>{}</value>\n",
    "markdown": "Use `{}` here.\n",
    "diff": "-old\n+value = {}\n",
}
"""Texts that a token of a known form stands in."""


def _pem(kind: str, newline: str = "\n") -> str:
    lines = [letters(64) for _ in range(14)]
    return newline.join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"])


def _login(password: str) -> str:
    return base64.b64encode(f"ada:{password}".encode()).decode()


def _crypt(size: int) -> str:
    return letters(size, MIXED + "./")


def placed() -> list[tuple[str, str, str]]:
    """Return kind, text and secret of what is known by where it stands, at least two of each."""
    found: list[tuple[str, str, str]] = []
    for number in range(2):
        word = f"hunter{number}k{letters(3, LOWER)}7"
        strong = letters(10) + f"!{number}aZ"
        random_ = letters(40)
        hidden = letters(24, HEX) + "9f0e1d2c"
        found += [
            ("password", f'password = "{strong}"', strong),
            ("password", f"passphrase: '{strong}'", strong),
            ("password", f'"api_key": "{random_}"', random_),
            ("password", f'\\"client_secret\\": \\"{random_}\\"', random_),
            ("password", f"api_key = {random_}", random_),
            ("password", f"aws_secret_access_key = {random_}", random_),
            ("password", f"RAILS_MASTER_KEY={hidden}", hidden),
            ("password", f"DB_PASSWORD={word}", word),
            ("password", f"PGPASSWORD={word} psql -h db", word),
            ("password", f"docker run -e MYSQL_PASSWORD={word} db", word),
            ("password", 'DB_PASSWORD="correct horse battery staple"',
             "correct horse battery staple"),
            ("password", f"  password: {word}", word),
            ("password", f"spring.datasource.password={word}", word),
            ("password", f'"Server=db;User=ada;Pwd={word};"', word),
            ("password", f"Server=db;Password={word};Port=1;", word),
            ("password", f"<password>{word}</password>", word),
            ("password", f"<token>{random_}</token>", random_),
            ("password", f'<add key="ClearTextPassword" value="{word}" />', word),
            ("password", f"define('DB_PASSWORD', '{word}');", word),
            ("password", f"tool login --password {word}", word),
            ("password", f"tool login --password='{word}'", word),
            ("password", f"gh auth login --with-token {random_}", random_),
            ("password", f"sshpass -p {word} ssh host", word),
            ("password", f"curl -s -u ada:{word} https://host.invalid", word),
            ("password", f"mysql -h db -uroot -p{word} shop", word),
            ("password", f"sqlplus ada/{word}@db", word),
            ("password", f"jdbc:oracle:thin:ada/{word}@db:1521:x", word),
            ("aws-secret", f"AKIA{letters(16, UPPER)},{random_}", random_),
            ("aws-secret", f'"AKIA{letters(16, UPPER)}","{random_}"', random_),
            ("npm-token", f"//registry.invalid/:_auth={_login(word)}", _login(word)),
            ("password", f"//registry.invalid/:_password = {random_}", random_),
            ("bearer", f"Authorization: Bearer {random_}", random_),
            ("bearer", f"Authorization: Bearer\t{random_}", random_),
            ("basic-auth", f"Authorization: Basic {_login(word)}", _login(word)),
            ("basic-auth", f'"auths": {{"r.io": {{"auth": "{_login(word)}"}}}}', _login(word)),
            ("authorization", f"Authorization: token {random_}", random_),
            ("authorization", f"authorization: {random_}", random_),
            ("cookie", f"Cookie: theme=dark; sessionid={random_}; lang=de", random_),
            ("url-password", f"https://ada:{word}@host.invalid/x.git", word),
            ("url-password", f"https://ada:{word}@x@host.invalid/x", f"{word}@x"),
            ("url-password", f"postgres://app:{word}/x@db.invalid:5432/main", f"{word}/x"),
            ("url-token", f"https://{random_}@host.invalid/x.git", random_),
            ("url-token", f"https://{random_}:x-oauth-basic@host.invalid/x", random_),
            ("azure-key", f"AccountName=x;AccountKey={letters(86)}==;", ""),
            ("azure-key", f"Endpoint=sb://x/;SharedAccessKey={letters(43)}=", ""),
            ("azure-sas", f"https://x.blob.core.invalid/c?sv=2024&sig={letters(43)}%3D&se=1", ""),
            ("otp-secret", f"otpauth://totp/x:ada?secret={letters(32, 'ABCDEFGHIJ234567')}&p=1",
             ""),
            ("private-key", _pem("RSA PRIVATE KEY"), ""),
            ("private-key", _pem("OPENSSH PRIVATE KEY", "\\n"), ""),
            ("private-key", _pem("PGP PRIVATE KEY BLOCK"), ""),
            ("putty-key", "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 2\n"
             f"{letters(64)}\n{letters(30)}=\nPrivate-MAC: {letters(64, HEX)}\n", ""),
            ("base64-key", base64.b64encode(f"ghp_{letters(36)}".encode()).decode(), ""),
            ("netrc-password", f"machine git.invalid login ada password {word}", word),
            ("netrc-password", f"machine git.invalid\n  login ada\n  password {word}\n", word),
            ("netrc-password", f"default login ada password {word}", word),
            ("pgpass-password", f"db.invalid:5432:main:ada:{word}", word),
            ("pgpass-password", f"# all\n*:*:*:ada:{word}\n", word),
            ("password-hash", f"ada:$apr1${_crypt(8)}${_crypt(22)}", ""),
            ("password-hash", f"root:$6${_crypt(16)}${_crypt(86)}:19000:0:99999:7:::", ""),
            ("password-hash", f"ada:$y$j9T${_crypt(22)}${_crypt(43)}:19000:", ""),
            ("password-hash", f"ada:$2y$10${_crypt(53)}", ""),
            ("password-hash", f"ada:{{SHA}}{letters(27)}=", ""),
            ("password-hash",
             f"$argon2id$v=19$m=65536,t=3,p=4${letters(22)}${letters(43)}", ""),
        ]  # fmt: skip
    return found
