"""Secrets become markers; what only looks like one stays; time is linear."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import stat
import string
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from rlm_mcp import redact

chance = random.Random(7)


def letters(size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(chance.choice(alphabet) for _ in range(size))


PEM = "\n".join(letters(64) for _ in range(12))
PARTS = [base64.urlsafe_b64encode(letters(40).encode()).decode().rstrip("=") for _ in range(3)]
JWT = f"eyJ{PARTS[0]}.eyJ{PARTS[1]}.{PARTS[2]}"

SECRETS = [
    ("aws-key", "AKIA" + letters(16, string.ascii_uppercase + string.digits)),
    ("aws-key", "ASIA" + letters(16, string.ascii_uppercase + string.digits)),
    ("github-token", "ghp_" + letters(36)),
    ("github-token", "ghs_" + letters(36)),
    ("github-token", "github_pat_" + letters(82)),
    ("gitlab-token", "glpat-" + letters(20)),
    ("anthropic-key", "sk-ant-api03-" + letters(90)),
    ("openai-key", "sk-" + letters(48)),
    ("openai-key", "sk-proj-" + letters(60)),
    ("google-key", "AIza" + letters(35)),
    ("google-token", "ya29." + letters(60)),
    ("google-token", "GOCSPX-" + letters(28)),
    ("slack-token", "xoxb-" + letters(12, string.digits) + "-" + letters(24)),
    ("stripe-key", "sk_live_" + letters(24)),
    ("stripe-key", "rk_live_" + letters(24)),
    ("npm-token", "npm_" + letters(36)),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc" + letters(60)),
    ("huggingface-token", "hf_" + letters(34)),
    ("sendgrid-key", "SG." + letters(22) + "." + letters(43)),
    ("digitalocean-token", "dop_v1_" + letters(64, "0123456789abcdef")),
    ("shopify-token", "shpat_" + letters(32, "0123456789abcdef")),
    ("vault-token", "hvs." + letters(90)),
    ("databricks-token", "dapi" + letters(32, "0123456789abcdef")),
    ("docker-token", "dckr_pat_" + letters(27)),
    ("linear-key", "lin_api_" + letters(40)),
    ("rubygems-key", "rubygems_" + letters(48, "0123456789abcdef")),
    ("model-key", "gsk_" + letters(52)),
    ("model-key", "xai-" + letters(80)),
    ("age-key", "AGE-SECRET-KEY-1" + letters(58, string.ascii_uppercase + string.digits)),
    ("jwt", JWT),
    (
        "private-key",
        f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}\n-----END RSA PRIVATE KEY-----",
    ),
    (
        "private-key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\n" + PEM.replace("\n", "\\n") + "\\n-----END "
        "OPENSSH PRIVATE KEY-----",
    ),
]

IN_PLACE = [
    ("slack-webhook", "https://hooks.slack.com/services/{}", f"T0AB12CDE/B0AB12CDE/{letters(24)}"),
    ("azure-key", "DefaultEndpointsProtocol=https;AccountKey={};", letters(86) + "=="),
    ("bearer", "Authorization: Bearer {}", letters(40)),
    ("bearer", 'curl -H "authorization: bearer {}"', letters(40)),
    ("basic-auth", "Authorization: Basic {}", base64.b64encode(b"user:pa55word!x").decode()),
    ("url-password", "postgres://app:{}@db.internal:5432/main", "hunter2hunter2"),
    ("url-password", "https://user:{}@git.host/x.git", "s3cr3tvalue"),
    ("url-password", "redis://:{}@cache:6379/0", "qwert12345"),
    ("password", 'password = "{}"', "hunter2x"),
    ("password", "DB_PASSWORD={}", "s3cr3t!Xy"),
    ("password", "  password: '{}'", "Tr0ub4dor&3"),
    ("password", 'settings["api_key"] = "{}"', letters(32)),
    ("password", "aws_secret_access_key = {}", letters(40)),
    ("password", '{{"client_secret": "{}"}}'.replace("{{", "{").replace("}}", "}"), letters(24)),
    ("password", "export API_KEY={}", letters(32)),
    ("password", 'const authToken: string = "{}";', letters(24)),
    ("password", "https://host/path?token={}&x=1", "a1B2c3D4e5F6g7H8"),
    ("password", "SECRET_KEY='{}'", letters(50)),
    ("netrc-password", "machine git.host login ada password {}", "s3cr3tvalue"),
    ("password", "curl -s -u ada:{} https://host/x", "s3cr3tvalue"),
    ("password", "mysql -h db -uroot -p{} shop", "s3cr3tvalue"),
    (
        "basic-auth",
        '{{"auths": {{"r.io": {{"auth": "{}"}}}}}}'.replace("{{", "{").replace("}}", "}"),
        base64.b64encode(b"ada:s3cr3tvalue").decode(),
    ),
    ("cookie", "Cookie: theme=dark; sessionid={}; lang=de", letters(32)),
    ("telegram-token", "https://api.host/bot123456789:{}/getMe", "AA" + letters(33)),
]

KEPT = [
    "commit 8b0c8091f3c9ab7d5e0f4a2b6c8d9e0f1a2b3c4d",
    "id = " + str(uuid.UUID(int=chance.getrandbits(128))),
    "sha256:" + hashlib.sha256(b"x").hexdigest(),
    "2. Get Token: `GetCloudToken()` (auth.go:582-613)",
    "integrity sha512-" + base64.b64encode(hashlib.sha512(b"x").digest()).decode(),
    "/usr/lib/python3.11/site-packages/anthropic/_client.py",
    "src=data:image/png;base64," + base64.b64encode(bytes(range(200))).decode(),
    "password = request.POST['password']",
    "password: str = field(default='')",
    'password = os.environ["DB_PASSWORD"]',
    'token = "csrfmiddlewaretoken"',
    "self.token = get_token(request)",
    "secret = settings.SECRET_KEY",
    "SECRET_KEY = ${SECRET_KEY}",
    "api_key: <your key here>",
    'API_KEY="your-api-key-1234567890"',
    "password=********",
    'password = "changeme123"',
    "max_tokens=4096, token_count=123456789",
    "private_key: ed25519.Ed25519PrivateKey",
    "the primary key = django.db.models.AutoField",
    "bearer tokens are sent in the Authorization header",
    "http://user@host/path and git@github.com:owner/name.git",
    "see https://docs.python.org/3/library/re.html#re.Pattern",
    "mysk-learn-estimator-with-a-long-name and task-runner-configuration-file",
    "sk-learn-is-a-nice-package-for-many-things",
    '_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"\n_END = b"-----END OPENSSH PRIVATE KEY-----"',
    "-----BEGIN CERTIFICATE-----\n" + PEM + "\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\n" + PEM + "\n-----END PUBLIC KEY-----",
    "hf_hub_download_and_cache_everything_now",
    "eyJ is how a JSON object begins in base64",
    "dollarToken = +dollarToken;",
    "key_id = 'AKIAIOSFODNN7EXAMPLE'",
    '"rule-1password": "^10.2.2"',
    "mysql -h db -u root -p shop < dump.sql",
    "mysql -h db -u root -p3306",
    'curl -u "$USER:$PASSWORD" https://host',
    "docker run -u 1000:1000 image && chown -R ada:staff /srv",
    "the machine that you login to with a password manager",
    "Cookie: theme=dark; lang=de",
    '"auth": "bm90aGluZyB0byBzZWUgaGVyZQ=="',
    "shpat_ and hvs. and dapi begin tokens; xai-tools-for-explainable-machine-learning-models",
    '"AWS::IAM::AccessKey": "62d91b17309e76c8"',
    "idToken: cacheRecord?.idToken?.secret || '',",
    'Bearer authorization_uri="https://login"',
    '"arn:aws:secretsmanager:*:*:secret:AmazonDataZone-*"',
    '["api:GetAccessToken", "route53:GetDNSView"]',
    "['-ExecutionPolicy', 'Bypass', '-EncodedCommand']",
    "os.stat('/etc/passwd', '/dir1/etc/passwd')",
]


@pytest.mark.parametrize(("kind", "secret"), SECRETS)
def test_a_known_form_is_replaced_and_its_surroundings_stay(kind: str, secret: str) -> None:
    redacted = redact.redact(f"before ({secret}) after")
    assert secret not in redacted
    assert redacted.startswith(f"before ([secret:{kind}:")
    assert redacted.endswith("]) after")


@pytest.mark.parametrize(("kind", "frame", "secret"), IN_PLACE)
def test_a_secret_is_known_by_where_it_stands(kind: str, frame: str, secret: str) -> None:
    redacted = redact.redact("x = 1\n" + frame.replace("{}", secret) + "\ny = 2")
    before, after = frame.split("{}")
    assert secret not in redacted
    assert redacted.startswith(f"x = 1\n{before}[secret:{kind}:")
    assert redacted.endswith(f"]{after}\ny = 2")


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert redact.redact(text) == text


def test_at_least_twelve_kinds_are_known() -> None:
    assert len({kind for kind, *_ in [*SECRETS, *IN_PLACE]}) >= 12


def test_the_same_secret_gets_the_same_marker_and_another_does_not() -> None:
    one, two = "ghp_" + letters(36), "ghp_" + letters(36)
    first, second, third = redact.redact(f"{one} {two} {one}").split(" ")
    assert first == third != second
    assert redact.redact(f'token = "{one}"') == f'token = "{first}"'


def test_a_second_pass_changes_nothing() -> None:
    text = "\n".join([*(f"{s} in text" for _, s in SECRETS), *(f.format(s) for f, s in _frames())])
    once = redact.redact(text)
    assert redact.count(text) >= len(SECRETS) + len(_frames())
    assert redact.redact(once) == once
    assert redact.count(once) == 0


def _frames() -> list[tuple[str, str]]:
    plain = [(frame, secret) for _, frame, secret in IN_PLACE if frame.count("{") == 1]
    return [*plain, *[('x = {{"client_secret": "{}"}}', letters(24))]]


def test_positions_hold_in_text_that_is_not_ascii() -> None:
    secret = "ghp_" + letters(36)
    redacted = redact.redact(f"\u043a\u043b\u044e\u0447 \u0130 \U0001d518 \udcff {secret} é")
    assert redacted.startswith(
        "\u043a\u043b\u044e\u0447 \u0130 \U0001d518 \udcff [secret:github-token:"
    )
    assert redacted.endswith("] é")
    redacted = redact.redact(f"\u0130\u0130 DB_PASSWORD={secret[:20]}! \u0130")
    assert redacted.startswith("\u0130\u0130 DB_PASSWORD=[secret:password:")
    assert redacted.endswith("] \u0130")


def test_markers_differ_between_installations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = "ghp_" + letters(36)
    markers = set()
    for number in range(4):
        monkeypatch.setenv("RLM_MCP_STATE_DIR", str(tmp_path / str(number)))
        markers.add(redact.redact(secret))
    assert len(markers) > 1


def test_the_salt_is_its_owners_alone_and_survives_a_restart(tmp_path: Path) -> None:
    secret = "ghp_" + letters(36)
    code = f"from rlm_mcp import redact; print(redact.redact({secret!r}))"
    env = {**os.environ, "RLM_MCP_STATE_DIR": str(tmp_path)}
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
    assert stat.S_IMODE((tmp_path / "redact.salt").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["redact.salt"]


HOSTILE = [
    "cookie: a=b; " * 80_000,
    "cookie: " + "sess" * 250_000,
    "curl -u " * 125_000,
    "curl " + "-u" * 500_000,
    "mysql " * 170_000,
    "mysql -p" * 125_000,
    " QUtJQ" * 170_000,
    "eyJ" * 350_000,
    "eyJaaaaaaaaaa." * 80_000,
    "-----BEGIN PRIVATE KEY-----" * 40_000,
    "password" * 130_000,
    "password = '" * 90_000,
    "token=" * 170_000,
    "://" * 350_000,
    "://a:" * 200_000,
    "sk-" * 350_000,
    "bearer " * 150_000,
    "bearer" + " " * 1_000_000,
    "authorization: basic " * 50_000,
    "secret" + " " * 1_000_000 + "=",
    "key" + "\\n" * 500_000,
    "-----BEGIN RSA PRIVATE KEY-----" + "\\nAAAAAAAAAAAAAAAA" * 60_000,
    "AccountKey=" * 90_000,
    "a" * 1_000_000,
    "pass:'" + "x1" * 500_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24].replace("\\", ""))
def test_a_hostile_text_costs_no_more_than_linear_time(text: str) -> None:
    began = time.monotonic()
    redact.redact(text)
    assert time.monotonic() - began < 10, "about 1 MB; ordinary text takes 0.05 s"


@pytest.mark.parametrize(
    "text",
    [
        r"{\"password\": \"tR7#kQ9xWm2Lp\"}",
        r"password = \\\"tR7#kQ9xWm2Lp\\\"",
        r"{\'api_key\': \'kQ9xWm2LptR74Zb\'}",
    ],
)
def test_a_password_inside_escaped_text_is_taken_out(text: str) -> None:
    found = redact.redact(text)
    assert "[secret:password:" in found
    assert "Wm2Lp" not in found
    assert redact.redact(found) == found


@pytest.mark.parametrize("lead", ["test_", "x-", "MY_KEY_", "a=", "("])
def test_an_unmistakable_form_is_taken_out_behind_a_joint_too(lead: str) -> None:
    forms = {
        "aws-key": "AKIA" + "IOSFODNN7EXAMPL1",
        "github-token": "ghp_" + "aB3" * 12,
        "gitlab-token": "glpat-" + "aB3x" * 5,
        "npm-token": "npm_" + "aB3" * 12,
    }
    for kind, secret in forms.items():
        found = redact.redact(f"{lead}{secret} end")
        assert found.startswith(f"{lead}[secret:{kind}:") and found.endswith("] end"), found
    for name in ("run_ghp_parser", "the-npm_install_all_of_the_packages_there_are_now", "is_AKIA"):
        assert redact.redact(f"{lead}{name}") == f"{lead}{name}"


@pytest.mark.parametrize("lead", ["foo", "x", "9"])
def test_an_unmistakable_form_is_taken_out_behind_letters_too(lead: str) -> None:
    for kind, secret in (
        ("aws-key", "AKIA" + "IOSFODNN7EXAMPL1"),
        ("github-token", "ghp_" + "aB3" * 12),
        ("anthropic-key", "sk-ant-api03-" + letters(90)),
    ):
        found = redact.redact(f"{lead}{secret} end")
        assert found.startswith(f"{lead}[secret:{kind}:") and found.endswith("] end"), found
    kept = "desk-ant-colony-optimization-version-2 task-ant-a1b2c3d4e5f6g7h8i9"
    assert redact.redact(kept) == kept


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-" + letters(90),
        "AKIA" + letters(16, string.ascii_uppercase + string.digits),
        "ghp_" + letters(36),
        "github_pat_" + letters(82),
        f"-----BEGIN EC PRIVATE KEY-----\n{PEM}\n-----END EC PRIVATE KEY-----\n",
    ],
    ids=lambda secret: secret[:12],
)
def test_a_key_in_base64_is_taken_out(secret: str) -> None:
    for ending in ("", "\n"):
        wrapped = base64.b64encode(f"{secret}{ending}".encode()).decode()
        found = redact.redact(f"data:\n  value: {wrapped}\n")
        assert found.startswith("data:\n  value: [secret:base64-key:") and found.endswith("]\n")


def test_a_certificate_in_base64_stays() -> None:
    text = f"-----BEGIN CERTIFICATE-----\n{PEM}\n-----END CERTIFICATE-----\n"
    wrapped = "ca: " + base64.b64encode(text.encode()).decode()
    assert redact.redact(wrapped) == wrapped


def test_every_session_cookie_of_a_header_is_taken_out() -> None:
    first, second = letters(32), letters(32)
    found = redact.redact(f"Cookie: sessionid={first}; lang=de; auth_token={second}\n")
    assert first not in found and second not in found and "; lang=de; auth_token=" in found


def test_a_password_on_a_command_line_is_taken_out_whole() -> None:
    for line in ("curl -s https://h/ -u ada:s3cr;3t|value", "mysqldump --all -ps3cr;3t|value shop"):
        assert "value" not in redact.redact(line), line


def test_a_key_of_its_makers_length_is_one_whatever_it_is_made_of() -> None:
    for body in ("A" * 80, "aB3_" * 20):
        told = redact.redact(f"use sk-ant-api03-{body} now")
        assert told.startswith("use [secret:anthropic-key:")
    for placeholder in ("sk-ant-api03-" + "x" * 80, "sk-ant-api03-...", "sk-ant-your-key-here"):
        assert redact.redact(placeholder) == placeholder
