"""Secrets without a form of their own, known by where they stand: behind a name, in a header, in
an URL, on a command line, in the files of programs that keep them.
"""

from __future__ import annotations

from rlm_mcp.redact import checks
from rlm_mcp.redact.rules import Rule, Rules
from rlm_mcp.redact.token_forms import DETECT_SECRETS, GITLEAKS, NOSEY_PARKER, OWN, TOKENS

_NAME = (
    r"(?:pass(?:w(?:or)?d|phrase|wd)?|pwd|secret(?:_?(?:access_?)?key)?|token|credentials?"
    r"|(?:(?<=api)|(?<=api[_-])|(?<=access)|(?<=access[_-])|(?<=private[_-])|(?<=auth[_-])"
    r"|(?<=signing[_-])|(?<=encryption[_-])|(?<=master[_-])|(?<=account[_-]))key)"
    r"(?:[_-]?(?:value|string|prod|dev|test|live|\d))?"
)
"""What a variable is called that holds a secret, from the word on that says so."""
_WORDS = ("pass", "pwd", "secret", "token", "key", "credential")
_ASSIGNED = r"[a-z0-9_-]{0,28}\\{0,4}[\"']?\]?[\x09-\x0d\x1c-\x20]{0,8}[:=]"
_SIGN = "|".join(f"{word}{_ASSIGNED}" for word in _WORDS)
_PASSWORD = r"(?:pass(?:w(?:or)?d|phrase|wd)?|pwd)"
_URL_END = r"@[A-Za-z0-9_\[.-]"
_CRYPT = r"[./A-Za-z0-9]"

_NAMED = (
    Rule(
        "password", "a value in quotes, behind a name such as password or api_key", _WORDS,
        _NAME + r"\\{0,4}[\"']?\]?\s{0,8}(?::\s{0,4}(?:str|string)\s{0,4}=|:=|=>|[=:])"
        r"(?:\s{0,8}|[ \t]{0,8}[\\(]?\r?\n[+-]?[ \t]{0,60})"
        r"[bru@]?(?:\\{1,4}[\"']([^\s\"'\\]{6,300})\\{1,4}[\"']"
        r"|\"([^\s\"]{6,300})\"|'([^\s']{6,300})'|`([^\s`]{6,300})`)",
        OWN, 'password = "…", "api_key": "…"', check=checks.is_quoted, inside=True, any_case=True,
        sign=_SIGN,
    ),
    Rule(
        "password", "a value without quotes, behind such a name", _WORDS,
        _NAME + r"\\{0,4}[\"']?\]?(?:[ \t]{0,4}=[ \t]{0,4}|[ \t]{0,4}:[ \t]{1,4})"
        r"([A-Za-z0-9#@^%][\w!#%*+/?@^~=.-]{7,250}+"
        r"(?:&(?!\w{1,40}=)[\w!#%*+/?@^~=.-]{0,60}+){0,3}+)(?![^\s,;&)\]}\"'<])",
        OWN, "api_key = …, token: …", check=checks.is_bare, inside=True, any_case=True, sign=_SIGN,
    ),
    Rule(
        "password", "a variable of a shell whose name has PASS or PWD", ("PASS", "PWD"),
        r"(?:PASS(?:W(?:OR)?D|PHRASE|WD)?|PWD)(?:_[A-Z0-9_]{1,24}|\d)?="
        r"(?:\"([^\"\n$`]{4,200})\"|'([^'\n]{4,200})'|([^\s\"';&|,)(]{4,200}))",
        OWN, "DB_PASSWORD=…, PGPASSWORD='…'", check=checks.is_literal, inside=True, sign=_SIGN,
    ),
    Rule(
        "password", "a password that is all of a line but its name", ("pass", "pwd"),
        _PASSWORD + r"(?:=|:[ \t]{1,4})([^\s\"'();,{}\[\]<>]{5,200})[ \t]{0,4}(?=\r?\n|\Z)",
        OWN, "password: …, db.password=…", check=checks.is_alone, inside=True, any_case=True,
        sign=_SIGN,
    ),
    Rule(
        "password", "a part of a connection string", ("password", "pwd"),
        r"(?<=[;\"'])(?:password|pwd)[ \t]?=[ \t]?([^;\"'\s{}]{3,100})(?=[;\"'])",
        NOSEY_PARKER, "Server=…;Pwd=…;", check=checks.is_element, inside=True, any_case=True,
        sign=_SIGN,
    ),
    Rule(
        "password", "the text of an element of XML",
        ("password>", "passphrase>", "passwd>", "pwd>", "secret>", "secretkey>", "token>"),
        r"(?:password|passphrase|passwd|pwd|secret(?:key)?|token)>([^<>\s]{4,300})</",
        OWN, "<password>…</password>", check=checks.is_element, inside=True, any_case=True,
    ),
    Rule(
        "password", "a value of a .NET or NuGet configuration", ("key=", "name="),
        r"(?:key|name)=\"[\w.:-]{0,60}(?:password|secret|token|apikey)\"[ \t]{1,8}"
        r"value=\"([^\"\n]{4,300})\"",
        GITLEAKS, '<add key="ClearTextPassword" value="…" />', check=checks.is_element,
        any_case=True, sign=r"(?:key|name)=\"[\w.:-]{0,60}(?:password|secret|token|apikey)\"",
    ),
    Rule(
        "password", "a constant of PHP", ("define(",),
        r"define\([ \t]{0,4}[\"']\w{0,40}(?:pass|secret|key|token|salt|pwd)\w{0,20}[\"']"
        r"[ \t]{0,4},[ \t]{0,4}"
        r"(?:\"([^\"\n]{6,200})\"|'([^'\n]{6,200})')",
        OWN, "define('DB_PASSWORD', '…')", check=checks.is_literal, any_case=True,
        sign=r"define\([ \t]{0,4}[\"']",
    ),
    Rule(
        "aws-secret", "the secret behind an AWS key id, as in a CSV file", ("akia", "asia"),
        r"A(?:K|S)IA[A-Z0-9]{16}[\"']?[\s,;:|]{1,4}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        OWN, "AKIA…,…", check=checks.is_random, any_case=True,
        sign=r"A[KS]IA[A-Z0-9]{16}",
    ),
    Rule(
        "npm-token", "the login of a registry of npm", ("_auth", "_password"),
        r"_(?:auth|password)[ \t]{0,4}=[ \t]{0,4}[\"']?([A-Za-z0-9+/]{12,400}={0,2})",
        OWN, "//registry/:_auth=…", check=checks.is_random_with_digits, inside=True,
        sign=r"_(?:auth|password)[ \t]{0,4}=",
    ),
)  # fmt: skip

_ON_COMMAND_LINES = (
    Rule(
        "password", "an option of a command", ("--",),
        r"--(?:[a-z]{1,20}-){0,3}(?:password|passwd|pass|passphrase|token|secret|api-?key"
        r"|secret-key|access-key)[ =]{1,3}(?:\"([^\"\n$]{4,200})\"|'([^'\n$]{4,200})'"
        r"|([^\s\"'`,;)|&]{4,250}))",
        OWN, "--password …, --with-token …", check=checks.is_option,
        sign=r"--[a-z-]{0,60}(?:password|passwd|pass|passphrase|token|secret|key)[ =]",
    ),
    Rule(
        "password", "sshpass -p", ("sshpass",),
        r"sshpass[ \t]{1,4}-p[ ]?[\"']?([^\s\"']{4,200})", OWN, "sshpass -p …",
        check=checks.is_typed,
    ),
    Rule(
        "password", "curl -u, --user", ("curl ",),
        r"(?<![^ ])(?:-u|--user)[ =]{0,4}[\"']?[^\s:\"'$]{1,100}:([^\s\"']{4,200})", GITLEAKS,
        "curl -u user:…", check=checks.is_typed, rest=r"curl (?P<rest>[^\n|;]{0,9000})",
    ),
    Rule(
        "password", "the clients of MySQL", ("mysql",),
        r"(?<![^ ])-p[\"']?([^\s\"']{4,100})", OWN, "mysql -u user -p…", check=checks.is_typed,
        rest=r"mysql(?:dump|admin|import|show)? (?P<rest>[^\n|;]{0,9000})",
    ),
    Rule(
        "password", "the clients of Oracle", ("sqlplus ", "sqlldr ", "expdp ", "impdp ",
                                              "jdbc:oracle:"),
        r"(?:(?:sqlplus|sqlldr|expdp|impdp)[ \t]{1,4}(?:-\w{1,9}[ \t]{1,4}){0,4}(?:userid=)?[\"']?"
        r"|jdbc:oracle:(?:thin|oci8?):)[\w$#.-]{1,60}/([^\s\"'/]{3,100})@",
        OWN, "sqlplus user/…@host, jdbc:oracle:thin:user/…@host", check=checks.is_password_of_url,
    ),
)  # fmt: skip

_SENT = (
    Rule(
        "bearer", "the header Authorization", ("bearer ", "bearer\t"),
        r"bearer[ \t]{1,4}([A-Za-z0-9._~+/-]{16,4000}={0,2})", OWN, "Bearer …",
        check=checks.is_random, any_case=True,
    ),
    Rule(
        "basic-auth", "the header Authorization", ("authorization",),
        r"authorization[\"']?[ \t]{0,4}[:=,][ \t]{0,4}[\"']?basic[ \t]{1,4}"
        r"([A-Za-z0-9+/]{8,400}={0,2})",
        OWN, "Authorization: Basic …", inside=True, any_case=True,
        sign=r"authorization[\"']?[\t ]{0,4}[:=,]",
    ),
    Rule(
        "authorization", "the header Authorization", ("authorization",),
        r"authorization[\"']?[ \t]{0,4}[:=,][ \t]{0,4}[\"']?"
        r"(?:(?:token|bot|api-?key|key|apikey|splunk"
        r"|genie-?key|sso-key|discogs)[ \t]{1,4}(?:token=)?)?[\"']?"
        r"([A-Za-z0-9._~+/:-]{16,4000}={0,2})",
        GITLEAKS, "Authorization: token …, Authorization: …", check=checks.is_sent,
        inside=True, any_case=True, sign=r"authorization[\"']?[\t ]{0,4}[:=,]",
    ),
    Rule(
        "basic-auth", "the configuration of Docker", ('"auth":',),
        r"\"auth\":\s{0,4}\"([A-Za-z0-9+/]{12,400}={0,2})\"", OWN, '"auth": "…"',
        check=checks.is_login, inside=True,
    ),
    Rule(
        "cookie", "the cookies of a session", ("cookie",),
        r"(?<![\w.-])[\w.-]{0,40}(?:sess|auth|sid|token|jwt)[\w.-]{0,40}="
        r"([A-Za-z0-9%._~+/-]{16,500})",
        OWN, "Cookie: sessionid=…", check=checks.is_random, inside=True, any_case=True,
        rest=r"cookie[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<rest>[^\n\"']{0,9000})",
        sign=r"cookie[\"']?[\x09-\x0d ]{0,4}[:=]",
    ),
)  # fmt: skip

_IN_URLS = (
    Rule(
        "url-password", "the password of an URL", ("://",),
        r"://[^\s:/@\"'<>?#]{0,100}:([^\s/\"'<>?#]{3,200})" + _URL_END, OWN, "scheme://user:…@host",
        check=checks.is_password_of_url, inside=True,
        sign=r"://[^\x09-\x0d /@\"'<>?#]*:[^\x09-\x0d /\"'<>?#]+@",
    ),
    Rule(
        "url-password", "the same with a slash in it", (
            "postgres", "mysql", "mariadb", "mongodb", "redis", "amqp", "mssql", "sqlserver"),
        r"(?:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?|mssql|sqlserver)"
        r"(?:\+\w{1,20})?://[^\s:/@\"'<>?#]{0,100}:([^\s\"'<>]{3,200})" + _URL_END,
        OWN, "postgres://user:…/…@host", check=checks.is_password_with_slash, any_case=True,
        sign=r"(?:postgres|postgresql|mysql|mariadb|mongodb|rediss?|amqps?|mssql|sqlserver)"
        r"(?:\+\w{1,20})?://",
    ),
    Rule(
        "url-token", "a token in the place of an URL's user", ("://",),
        r"://([A-Za-z0-9_.~-]{20,255})(?::[^\s/@\"'<>?#]{0,60})?" + _URL_END, OWN,
        "https://…@host", check=checks.is_user, inside=True,
        sign=r"://[A-Za-z0-9_.~-]+(?::[^\x09-\x0d /@\"'<>?#]*)?@",
    ),
    Rule(
        "azure-key", "keys in connection strings of Azure", ("AccountKey=", "SharedAccessKey="),
        r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,90}={0,2})", DETECT_SECRETS,
        "AccountKey=…, SharedAccessKey=…", inside=True,
    ),
    Rule(
        "azure-sas", "a signed URL of Azure", ("sig=",),
        r"sig=([A-Za-z0-9%+/_-]{40,100}={0,2})", OWN, "?sv=…&sig=…", check=checks.is_random,
        sign="sig=[A-Za-z0-9%+/_-]{16}",
    ),
    Rule(
        "otp-secret", "the secret of one-time passwords", ("otpauth://",),
        r"otpauth://[th]otp/[^\s\"'<>]{0,200}?secret=([A-Z2-7]{8,128}=*)", OWN,
        "otpauth://totp/…?secret=…", any_case=True,
    ),
)  # fmt: skip

_IN_FILES = (
    Rule(
        "private-key", "PEM and OpenPGP", ("-----BEGIN ",),
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?=(?:(?!-----)[^\0]){0,300}?[A-Za-z0-9+/]{32})"
        r"(?:(?:(?!-----)[^\0]){0,20000}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:[\s\\nr\"',+]{0,12}[A-Za-z0-9+/=]{16,}){1,400})",
        GITLEAKS, "-----BEGIN … PRIVATE KEY-----", inside=True,
        sign=r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY",
    ),
    Rule(
        "putty-key", "PuTTY", ("private-lines:",),
        r"private-lines: ?\d{1,3}[\s\\nr]{1,8}((?:[A-Za-z0-9+/=]{4,100}[\s\\nr]{0,8}){1,200})"
        r"(?=private-mac)",
        OWN, "Private-Lines: … Private-MAC:", any_case=True,
    ),
    Rule(
        "base64-key", "keys of this table in base64",
        ("c2stYW50L", "QUtJQ", "Z2hwX", "Z2l0aHViX3BhdF", "LS0tLS1CRUdJTi"),
        r"(?<![+/=])[A-Za-z0-9+/_-]{24,8000}={0,2}", OWN, "the base64 of sk-ant-…, AKIA…, ghp_…",
        check=checks.is_encoded_key,
    ),
    Rule(
        "netrc-password", "netrc", ("machine ", "default "),
        r"(?:machine[ \t]{1,4}\S{1,200}|default)\s{1,20}login[ \t]{1,4}\S{1,100}\s{1,20}"
        r"password[ \t]{1,4}(\S{4,200})",
        OWN, "machine … login … password …", check=checks.is_password_of_url,
        sign=r"(?:machine [^\s]{1,200}|default)[\x09-\x0d ]{1,20}login",
    ),
    Rule(
        "pgpass-password", "PostgreSQL's .pgpass", (":5432:", ":5433:", ":6432:", ":*:"),
        r":(?:5432|5433|6432|\*):[^:\s]{1,64}:[^:\s]{1,64}:((?:\\.|[^:\s\\]){4,200})(?=\r?\n|\Z)",
        OWN, "host:5432:database:user:…", check=checks.is_password_of_pgpass, inside=True,
        sign=r":(?:5432|5433|6432|\*):[^:\s]{1,64}:[^:\s]{1,64}:",
    ),
    Rule(
        "password-hash", "crypt: shadow, htpasswd, databases",
        ("$1$", "$5$", "$6$", "$2a$", "$2b$", "$2x$", "$2y$", "$y$", "$7$", "$apr1$", "$argon2"),
        rf"\$(?:(?:1|apr1)\${_CRYPT}{{1,8}}\${_CRYPT}{{22}}"
        rf"|[56]\$(?:rounds=\d{{1,9}}\$)?{_CRYPT}{{1,16}}\${_CRYPT}{{43,86}}"
        rf"|2[abxy]\$\d\d\${_CRYPT}{{53}}|[y7]\${_CRYPT}{{1,20}}\${_CRYPT}{{1,86}}\${_CRYPT}{{43}}"
        r"|argon2(?:id|i|d)\$[^\s$]{1,20}\$[^\s$]{1,40}\$[A-Za-z0-9+/]{8,90}\$[A-Za-z0-9+/]{16,180})"
        rf"(?!{_CRYPT})",
        OWN, "$6$salt$…, $2y$10$…, $apr1$salt$…", inside=True,
        sign=r"\$(?:[1567y]|apr1|2[abxy]|argon2[id]{1,2})\$[./A-Za-z0-9=]",
    ),
    Rule(
        "password-hash", "the SHA forms of htpasswd and LDAP", ("{SHA}", "{SSHA}"),
        r"\{S?SHA\}([A-Za-z0-9+/]{27,60}={0,2})", OWN, "{SHA}…", inside=True,
    ),
)  # fmt: skip

RULES = Rules((*TOKENS, *_SENT, *_IN_URLS, *_IN_FILES, *_ON_COMMAND_LINES, *_NAMED))
"""All rules. Of two that find the same secret the first gives it its kind."""
