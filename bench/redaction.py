"""What redaction takes out of real code, and what it costs: `python bench/redaction.py [MB]`.

False positives are counted over the standard library and the installed packages: nothing there is
a secret but examples, which are listed. Texts made to be slow are timed, 1 MB each. Times are
those of the processor.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rlm_mcp import redact

KINDS = frozenset({".py", ".pyi", ".js", ".ts", ".json", ".md", ".txt", ".toml", ".yml", ".cfg"})
FOLDERS = ("stdlib", "purelib")

HOSTILE = {
    "cookies": "cookie: a=b; " * 80_000,
    "one cookie": "cookie: " + "sess" * 250_000,
    "curl": "curl -u " * 125_000,
    "options of curl": "curl " + "-u" * 500_000,
    "mysql": "mysql " * 170_000,
    "options of mysql": "mysql -p" * 125_000,
    "base64 of keys": " QUtJQ" * 170_000,
    "eyJ": "eyJ" * 350_000,
    "parts of tokens": "eyJaaaaaaaaaa." * 80_000,
    "spaced eyJ": " eyJaaaaaaaa" * 85_000,
    "PEM heads": "-----BEGIN PRIVATE KEY-----" * 40_000,
    "PEM body": "-----BEGIN RSA PRIVATE KEY-----" + "\\nAAAAAAAAAAAAAAAA" * 60_000,
    "PEM bodies": ("-----BEGIN RSA PRIVATE KEY-----" + "A" * 64 + "\n" * 3) * 10_000,
    "password": "password" * 130_000,
    "assigned": "password = '" * 90_000,
    "token=": "token=" * 170_000,
    "token=x": "token=aB3" * 110_000,
    "PASS=": "PASS=a1 " * 125_000,
    "://": "://" * 350_000,
    "://a:": "://a:" * 200_000,
    "://a:b@": "://a:b@" * 150_000,
    "postgres://": "postgres://" * 95_000,
    "postgres://a:": "postgres://a:" + "/" * 1_000_000,
    "sk-": "sk-" * 350_000,
    "spaced sk-": " sk-aaaaaaa" * 95_000,
    "bearer": "bearer " * 150_000,
    "blanks behind bearer": "bearer" + " " * 1_000_000,
    "authorization": "authorization: basic " * 50_000,
    "authorization: token": "authorization: token " * 50_000,
    "blanks behind secret": "secret" + " " * 1_000_000 + "=",
    "escapes behind key": "key" + "\\n" * 500_000,
    "AccountKey": "AccountKey=" * 90_000,
    "letters": "a" * 1_000_000,
    "digits": "0123456789" * 100_000,
    "base64": "MTIzNDU2Nzg5" * 80_000,
    "one long value": "pass:'" + "x1" * 500_000,
    "options": "--password " * 90_000,
    "dashes": "-" * 1_000_000,
    "elements": "<password>" * 100_000,
    "netrc": "machine a login b " * 55_000,
    "netrc, blanks": "machine " + "a " * 500_000,
    "pgpass": ":5432:a:b:" * 100_000,
    "crypt": "$6$a$" * 200_000,
    "argon2": "$argon2id$v=19$" * 66_000,
    "PuTTY": "private-lines: 9\n" * 58_000,
    "PuTTY body": "private-lines: 9\n" + "AAAA\n" * 200_000,
    "otpauth": "otpauth://totp/" * 66_000,
    "sig=": "sig=" * 250_000,
    "key id": "AKIAIOSFODNN7EXAMPL1," * 47_000,
    "-us1": "-us1" * 250_000,
    "hex": "0123456789abcdef" * 62_500,
}


def files(limit: int) -> Iterator[tuple[Path, str]]:
    """Yield real files and their texts, as many as make `limit` bytes."""
    size = 0
    for folder in FOLDERS:
        for path in sorted(Path(sysconfig.get_path(folder)).rglob("*")):
            if path.suffix not in KINDS or not path.is_file():
                continue
            if folder == "stdlib" and "site-packages" in path.parts:
                continue
            text = path.read_text("utf-8", "replace")
            size += len(text)
            yield path, text
            if size > limit:
                return


def measure_code(limit: int) -> None:
    """Print what is taken out of real code."""
    size = count = 0
    kinds: Counter[str] = Counter()
    seconds = 0.0
    lines: list[str] = []
    for path, text in files(limit):
        began = time.process_time()
        found = redact.find(text)
        seconds += time.process_time() - began
        size += len(text)
        count += 1
        for one in found:
            kinds[one.kind] += 1
            around = text[max(0, one.start - 30) : one.end + 10].replace("\n", "\\n")
            lines.append(f"  {one.kind:18} {'/'.join(path.parts[-3:])}: {around[:140]}")
    print("\n".join(lines))
    total = kinds.total()
    print(f"{count:,} files, {size / 1e6:.1f} MB: {total} found, {total / size * 1e6:.2f} a MB")
    print(f"by kind: {dict(kinds.most_common())}")
    print(f"{size / 1e6 / seconds:.0f} MB/s")


def measure_hostile() -> None:
    """Print the time for each text that is made to be slow, the slowest first."""
    times = []
    for name, text in HOSTILE.items():
        began = time.process_time()
        redact.redact(text)
        times.append((time.process_time() - began, name, len(text)))
    for seconds, name, size in sorted(times, reverse=True):
        print(f"{seconds:6.2f} s  {size / 1e6:.2f} MB  {name}")


if __name__ == "__main__":
    measure_hostile()
    measure_code(int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 60_000_000)
