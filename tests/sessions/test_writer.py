"""Secrets are taken out of batches exactly as `redact` takes them out of one text."""

from __future__ import annotations

import random
import string

from rlm_mcp.redact import redact
from rlm_mcp.sessions.writer import find_suspects, redact_bytes

MIXED = string.ascii_letters + string.digits


def secret(rng: random.Random) -> str:
    def letters(count: int, alphabet: str = MIXED) -> str:
        return "".join(rng.choice(alphabet) for _ in range(count))

    body = "\n".join(letters(64) for _ in range(rng.randint(1, 60)))
    return rng.choice(
        [
            f"AKIA{letters(16, string.ascii_uppercase + string.digits)}",
            f"ghp_{letters(36)}",
            f"sk-ant-api03-{letters(40)}",
            f"xoxb-123456789012-{letters(24)}",
            f"postgres://app:{letters(12)}1-@db.internal.invalid:5432/main",
            f'API_KEY = "{letters(30)}"',
            f"eyJ{letters(30)}.eyJ{letters(4000)}.{letters(43)}",
            f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----",
            f"Authorization: Bearer {letters(60)}",
        ]
    )


def filler(rng: random.Random, size: int) -> str:
    words = ["token", "def", "pass", "://", "äöü", "🧾", "secret", "x = 1", "\n", "sk-", "key"]
    return " ".join(rng.choice(words) for _ in range(size))


def test_a_large_text_is_cleaned_as_a_whole_one() -> None:
    rng = random.Random(4)
    for _ in range(30):
        parts = []
        for _ in range(rng.randint(1, 6)):
            parts += [filler(rng, rng.randint(0, 4_000)), secret(rng)]
        text = " ".join(parts)
        assert redact_bytes(text.encode()).decode() == redact(text)


def test_only_texts_with_a_beginning_are_suspect() -> None:
    rng = random.Random(5)
    texts = ["plain words only", secret(rng), "x" * 16_384, f"a {secret(rng)}"]
    found = find_suspects([text.encode() for text in texts])
    assert {1, 3} <= found
    assert 0 not in found
    assert 2 not in found


def test_every_text_that_redact_changes_is_suspect() -> None:
    rng = random.Random(6)
    texts = [f"{filler(rng, 20)}{secret(rng)}" for _ in range(60)]
    found = find_suspects([text.encode() for text in texts])
    assert {n for n, text in enumerate(texts) if redact(text) != text} <= found


def test_every_way_to_write_an_assignment_is_suspect() -> None:
    rng = random.Random(7)
    names = [
        "password", "PASSPHRASE", "passwd", "db_pass", "clientSecret", "secret_access_key",
        "secretkey", "token", "credentials", "api_key", "apikey", "access-key", "signing_key",
        "token_prod", "secret-1", "password_value",
    ]  # fmt: skip
    signs = ["=", ": ", ":=", "=>", " = ", "\t:\n ", ": str =", "] = ", "\x0b=\x1c", "        ="]
    changed = 0
    for name in names:
        for sign in signs:
            for quote in ("'", '"', "`", ""):
                value = "".join(rng.choice(MIXED) for _ in range(24)) + "9Zz"
                text = f"x {quote}{name}{quote}{sign}{quote}{value}{quote} y"
                if redact(text) != text:
                    changed += 1
                    assert find_suspects([b"plain", text.encode()]) == {1}, text
    assert changed > 100
    for url in ("https://u:p4ssw0rdX@h", "x://:aB3%^&*()@h", f"a://{'u' * 100}:secretX1@[::1]"):
        assert redact(url) != url
        assert find_suspects([url.encode()]) == {0}
