"""Every form of the table is taken out, by its name, in whatever it is written."""

from __future__ import annotations

import pytest

from rlm_mcp import redact
from rlm_mcp.redact import RULES
from rlm_mcp.redact.token_forms import TOKENS
from tests.redact.synthetic import CARRIERS, placed, tokens

TOKEN_CASES, PLACED_CASES = tokens(), placed()


def test_there_are_two_made_up_secrets_for_each_rule() -> None:
    assert len(TOKEN_CASES) == 2 * len(TOKENS)
    assert len(TOKEN_CASES) + len(PLACED_CASES) >= 200
    assert {rule.kind for rule in RULES.all} == {kind for kind, *_ in [*TOKEN_CASES, *PLACED_CASES]}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_token_is_taken_out_of_what_carries_it(carrier: str) -> None:
    before, after = CARRIERS[carrier].replace("{{", "{").replace("}}", "}").split("{}")
    for kind, frame, secret in TOKEN_CASES:
        told = redact.redact(before + frame.replace("{}", secret) + after)
        assert secret not in told, (kind, secret)
        assert f"[secret:{kind}:" in told or _is_named(told, frame), (kind, secret, told)
        assert told.startswith(before) and told.endswith(after), (kind, told)


def _is_named(told: str, frame: str) -> bool:
    """Say whether a secret was found by the name that it stands behind in its frame."""
    return frame != "{}" and "[secret:" in told


@pytest.mark.parametrize(
    ("kind", "text", "secret"),
    PLACED_CASES,
    ids=[f"{number}-{kind}" for number, (kind, *_) in enumerate(PLACED_CASES)],
)
def test_a_secret_is_taken_out_of_the_place_that_tells_it(
    kind: str, text: str, secret: str
) -> None:
    told = redact.redact(f"x = 1\n{text}\ny = 2\n")
    assert f"[secret:{kind}:" in told
    assert told.startswith("x = 1\n") and told.endswith("\ny = 2\n")
    if secret:
        assert secret not in told
        before = text[: text.index(secret)]
        assert told.startswith(f"x = 1\n{redact.redact(before)}[secret:{kind}:")


def test_both_ways_to_look_find_the_same() -> None:
    texts = [text for _, text, _ in PLACED_CASES]
    texts += [frame.replace("{}", secret) for _, frame, secret in TOKEN_CASES]
    for text in [*texts, "\n".join(texts)]:
        looked = sorted(RULES.at_places(text, RULES.places(text.encode())))
        assert looked == sorted(RULES.everywhere(text)), text


def test_every_rule_says_where_its_facts_come_from() -> None:
    for rule in RULES.all:
        assert rule.maker and rule.source.name and rule.source.date
        assert rule.kind == rule.kind.rstrip("0123456789"), rule.kind


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:password@localhost/db and http://user:pass@host/",
        "usage: tool --password PASSWORD --token TOKEN --token <token>",
        "--password is required, or --password-file /run/secrets/x",
        "<password></password><password>password</password>",
        "PWD=/home/ada\nOLDPWD=/srv/www2",
        "PASSWORD_HELP='Use 8 letters and 2 digits here'",
        "PASSWORD=settings.PASSWORD2",
        "password: string2[]",
        "self.password = password1",
        'define("ABSPATH", "/srv/www/site2/")',
        "file.c:5432:12:34: error",
        "http://localhost:8080/a@b",
        "redis://localhost:6379/0?owner=ada@example.org",
        "Authorization: base64.decodebytes(authorization)",
        "see hooks.slack.com/services/ and discord.com/api/webhooks",
        "key-1234567890abcdef is short, SK is a country and API-KEY a name",
        "$1 costs $5 or $6$ and $2a",
        "api_key = someVeryLongCamelCaseFunctionNameForTheKeysOfAll",
        "Authorization: theValueOfTheHeaderThatIsSentEachTime",
        "the machine default login is ada, the password is secret",
    ],
)
def test_what_only_reads_like_a_place_of_secrets_stays(text: str) -> None:
    assert redact.redact(text) == text


def test_secrets_that_overlap_are_taken_out_whole() -> None:
    text = "postgres://ada:hunter2x@" + "ghp_" + "aB3" * 12 + ".invalid/x password='aB3x!9zQ'"
    told = redact.redact(text)
    assert "aB3" not in told and "hunter2x" not in told


def test_a_damaged_salt_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for damage in (b"", b"x" * 100, b"short"):
        folder = tmp_path_factory.mktemp("state")
        (folder / "redact.salt").write_bytes(damage)
        monkeypatch.setenv("RLM_MCP_STATE_DIR", str(folder))
        assert "[secret:github-token:" in redact.redact("ghp_" + "aB3" * 12)
        assert len((folder / "redact.salt").read_bytes()) == redact.SALT_BYTES
