"""What kinds of logs there are: how a record begins, and its time, level, service and message.

A format reads whole lines. `detect_format` tells it from a sample; a log of several formats has
a first one and further ones, which read the lines that the first does not. Users add formats by
files in `.rlm/formats` (`user_formats`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rlm_mcp.logs import log_time
from rlm_mcp.logs.log_levels import (
    LETTERS,
    LEVELS,
    SYSLOG_LEVELS,
    failure_kind,
    level_number,
    level_word,
    status_level,
    text_level,
)
from rlm_mcp.logs.log_time import Clock, TimeStyle, read_time

Fields = dict[str, object]


class LineHead(NamedTuple):
    """What the first line of a record says."""

    time: float | None
    level: str


ReadHead = Callable[[bytes, Clock], LineHead | None]
ReadFields = Callable[[bytes], Fields]
Unwrap = Callable[[bytes], tuple[bytes, str, bool]]
"""What gives the line inside a container's, its stream, and whether it goes on."""

MATCH, BLANK, BRACE = "match", "blank", "brace"
"""How records are told: by a line that matches, by blank lines, by an opening brace."""
_ANSI = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9])")
_CONTINUED = re.compile(
    rb"[ \t]|Caused by|\.\.\. \d+ more|During handling|The above exception|Traceback \(most"
    rb"|goroutine \d|created by |[\w.$]+(?:Error|Exception)\b|\Z|[)\]}]"
)
"""How a line begins that goes on with the record before, most times."""


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A kind of log: `read_head` returns None for a line that no record begins with."""

    name: str
    read_head: ReadHead
    read_fields: ReadFields
    zone: bool = True
    """Whether its times carry a zone, or mean UTC by their nature."""
    year: bool = True
    starts: str = MATCH
    style: str = ""
    """The style of its times, where it is a text."""
    unwrap: Unwrap | None = None


@dataclass(frozen=True, slots=True)
class Detected:
    """The formats of one log, the first one first; none where its lines have no time."""

    formats: tuple[LogFormat, ...]
    share: float
    """The share of sampled lines, blank and continued ones left out, that the format reads."""


def clean_line(line: bytes) -> bytes:
    """Return a line without colours, byte order mark and carriage return."""
    if b"\x1b" in line:
        line = _ANSI.sub(b"", line)
    if line[-1:] == b"\r":
        line = line[:-1]
    return line.removeprefix(b"\xef\xbb\xbf")


# Text: a style of times, and a layout of what stands behind.

_LEVEL = rb"(?P<level>[A-Za-z]+)"
_LAYOUTS: tuple[tuple[str, bytes], ...] = (
    ("access",
     rb'^(?:\S+ )??(?P<client>\S+) \S+ (?P<user>\S+) \[[^\]]+\] "(?:(?P<method>[A-Z]+) ('
     rb'?P<path>\S+)[^"]*|[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+|-)(?: "(?P<referrer>[^'
     rb'"]*)" "(?P<agent>[^"]*)")?(?P<extras>.*)'),
    ("nginx error",
     rb"^\d{4}/\d\d/\d\d [\d:]{8} \[(?P<level>\w+)\] (?P<pid>\d+)#\d+: (?:\*\d+ )?(?P<me"
     rb"ssage>.*)"),
    ("apache error",
     rb"^\[\w{3} \w{3} [ \d]\d [\d:.]+ \d{4}\] \[(?:(?P<module>[\w-]*):)?(?P<level>\w+)"
     rb"\] (?:\[[^\]]*\] )*(?P<message>.*)"),
    ("postgres",
     rb"^[\d-]{10} [\d:.]+(?: [A-Z]{3,5}| [+-]\d\d)? \[(?P<pid>\d+)[^\]]*\] (?:(?P<servi"
     rb"ce>\S+@\S*) )?(?P<level>DEBUG\d|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC|STATEM"
     rb"ENT|DETAIL|HINT|CONTEXT):\s+(?P<message>.*)"),
    ("mysql",
     rb"^[\d-]{10}[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)? +\d+ \[(?P<level>\w+)\] (?:\[MY-\d+\]"
     rb" )?(?:\[(?P<service>\w+)\] )?(?P<message>.*)"),
    ("spring",
     rb"^[\d-]{10}[T ][\d:.,]+\S* +(?P<level>[A-Z]+) (?P<pid>\d+) --- (?:\[(?P<service>["
     rb"^\]]*)\] )??\[(?P<thread>[^\]]*)\] (?P<logger>\S+) *: (?P<message>.*)"),
    ("glog",
     rb"^(?P<letter>[IWEFD])\d{4} [\d:.]+ +(?P<thread>\d+) (?P<file>[^\s\]]+:\d+)\] (?P<"
     rb"message>.*)"),
    ("syslog 5424",
     rb"^<(?P<priority>\d+)>1 \S+ (?P<host>\S+) (?P<service>\S+) (?P<pid>\S+) (?P<msgid>"
     rb"\S+) (?:-|\[.*?\]) ?(?P<message>.*)"),
    ("syslog",
     rb"^(?:<(?P<priority>\d+)>)?\w{3} [ \d]\d [\d:.]+ (?P<host>[^\s:]+) (?:last message"
     rb"|(?P<service>[^\s:\[]+)(?:\[(?P<pid>\d+)\])?:) ?(?P<message>.*)"),
    ("logcat",
     rb"^(?:\d{4}-)?\d\d-\d\d [\d:.]+ +(?P<pid>\d+) +(?P<thread>\d+) (?P<letter>[VDIWEFA"
     rb"]) (?P<service>[^:]*?)\s*: ?(?P<message>.*)"),
    ("github actions", rb"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{7}Z ?(?P<message>.*)"),
    ("dmesg", rb"^\[ *\d+\.\d{6}\] (?P<message>.*)"),
    ("log4j",
     rb"^\[?[\d-]{10}[T ][\d:]{8}[.,]\d{3}\]? +(?:\[(?P<thread>[^\]]*)\] +)?(?P<level>TR"
     rb"ACE|DEBUG|INFO|WARN|ERROR|FATAL) +(?:\[(?P<thread2>[^\]]*)\] +)?(?P<logger>[\w.$"
     rb"/]+(?:\[[^\]]*\])?) *(?:-|:) (?P<message>.*)"),
    ("python",
     rb"^[\d-]{10}[T ][\d:]{8}(?:,\d{3})?(?: - (?P<logger2>[\w.]+) - (?P<level2>[A-Z]+) "
     rb"- | (?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL) +\[?(?P<logger>[\w.]+)\]?:"
     rb"? |[:,](?P<level3>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL):(?:(?P<logger3>[\w.]+)"
     rb":)?)(?P<message>.*)"),
)  # fmt: skip
"""Known layouts of text lines; behind them, a text is only its time, its level and the rest."""
_COMPILED = [(name, re.compile(pattern)) for name, pattern in _LAYOUTS]
_SERVICE_IN_TEXT = re.compile(
    rb"^[\s\[\]():<>|,-]*(?:[A-Z]+[\s\]:>|]+)?\[?([A-Za-z][\w.$/-]*[./][\w.$/-]*)[\]:]?"
)
_STATUS = re.compile(rb'" ([1-5]\d\d) (?:\d+|-)')
_PRIORITY = re.compile(rb"<(\d{1,3})>")
_LETTER_STYLES = {
    "glog": re.compile(rb"^([IWEFD])\d{4} "),
    "month-day": re.compile(rb"^[\d-]+ [\d:.]+ +\d+ +\d+ ([VDIWEFA]) "),
}
_LOGFMT_PAIR = re.compile(rb'(?:^|(?<=\s))([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)')
_LOGFMT_TIME = re.compile(
    rb'(?:^|\s)(?:time|ts|t|timestamp|@timestamp|datetime)="?([^"\s]+(?: [\d:.,]+\S*)?)"?'
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?\Z")


def _text_head(style: TimeStyle, layout: str) -> ReadHead:
    pattern, parse = style.pattern, style.parse
    anchored = pattern.pattern.startswith(b"^")
    find = pattern.match if anchored else pattern.search
    letters = _LETTER_STYLES.get(style.name)
    times: dict[bytes, tuple[Clock, float]] = {}

    def level_of(line: bytes, end: int) -> str:
        if layout == "access":
            status = _STATUS.search(line)
            return status_level(int(status[1])) if status else text_level(line, end)
        if letters is not None and (letter := letters.match(line)):
            return LETTERS[letter[1].decode()]
        if line[:1] == b"<" and (priority := _PRIORITY.match(line)) and int(priority[1]) < 192:
            return SYSLOG_LEVELS[int(priority[1]) % 8]
        level = text_level(line, end)
        if not level and layout == "github actions" and b"##[" in line:
            return "error" if b"##[error]" in line else "warn" if b"##[warning]" in line else ""
        if (
            not level
            and layout in ("dmesg", "syslog")
            and b"ernel" in line + b"ernel" * (layout == "dmesg")
        ):
            level = {"oom": "error", "panic": "fatal", "crash": "error"}.get(failure_kind(line), "")
        if not level and (status := _STATUS.search(line)):
            return status_level(int(status[1]))
        return level

    def read_head(line: bytes, clock: Clock) -> LineHead | None:
        match = find(line, 0, log_time.HEAD_BYTES)
        if match is None:
            return None
        stamp = match[0]
        if (known := times.get(stamp)) is not None and known[0] is clock:
            return LineHead(known[1], level_of(line, match.end()))
        try:
            when = parse(match, clock)
            if len(times) > 10_000:
                times.clear()
            times[stamp] = (clock, when)
        except (ValueError, OverflowError, KeyError):
            return None  # digits that are no date
        return LineHead(when, level_of(line, match.end()))

    return read_head


def _text_fields(style: TimeStyle | None, layout: str) -> ReadFields:
    compiled = dict(_COMPILED).get(layout)

    def read_fields(line: bytes) -> Fields:
        found: Fields = {}
        match = compiled.match(line) if compiled is not None else None
        if match is None:
            at = style.pattern.search(line, 0, log_time.HEAD_BYTES) if style else None
            rest = line[at.end() :] if at else line
            if service := _SERVICE_IN_TEXT.match(rest):
                found["logger"] = service[1].decode("utf-8", "replace")
            found["message"] = rest.strip(b" \t-:|]").decode("utf-8", "replace")
            return found | logfmt_fields(rest)
        for name, raw in match.groupdict().items():
            if raw is not None and name not in ("letter", "priority", "extras"):
                found[name.rstrip("23")] = field_value(raw.decode("utf-8", "replace"))
        rest = match["extras"] if layout == "access" else line[match.start("message") :]
        if layout == "access":
            found["message"] = line[line.find(b'"') :].decode("utf-8", "replace")
            found.pop("agent", None)
        return logfmt_fields(rest) | found

    return read_fields


def field_value(text: str) -> object:
    """Return a field as a number where it is one."""
    if _NUMBER.match(text) and len(text) < 17:
        return float(text) if "." in text else int(text)
    return text


def logfmt_fields(line: bytes) -> Fields:
    """Return the key=value pairs of a line."""
    if b"=" not in line:
        return {}
    found: Fields = {}
    for key, raw in _LOGFMT_PAIR.findall(line):
        value = raw.decode("utf-8", "replace")
        if value[:1] == '"':
            value = value[1:-1].replace('\\"', '"')
        found.setdefault(key.decode(), field_value(value))
    return found


# logfmt, JSON, and what is written in lines of fields.


def _logfmt_head(line: bytes, clock: Clock) -> LineHead | None:
    match = _LOGFMT_TIME.search(line)
    if match is None:
        return None
    when = _cached_time(match[1].decode("utf-8", "replace"), clock)
    return None if when is None else LineHead(when, text_level(line))


def _logfmt_all_fields(line: bytes) -> Fields:
    found = logfmt_fields(line)
    found["message"] = found.pop("msg", found.get("message", line.decode("utf-8", "replace")))
    return found


_TIME_KEYS = (
    "ts", "time", "@timestamp", "timestamp", "t", "datetime", "date", "eventTime", "_time",
    "asctime", "__REALTIME_TIMESTAMP", "started_at", "created", "instant", "timeUnixNano",
    "observedTimeUnixNano", "_ts",
)  # fmt: skip
_LEVEL_KEYS = (
    "level", "lvl", "severity", "log.level", "levelname", "loglevel", "log_level", "PRIORITY",
    "severity_text", "severityText", "s",
)  # fmt: skip
_MESSAGE_KEYS = (
    "msg", "message", "short_message", "MESSAGE", "event", "body", "log", "@message", "text",
    "error",
)  # fmt: skip
_SERVICE_KEYS = (
    "service", "service.name", "_SYSTEMD_UNIT", "app", "component", "logger", "name", "host",
    "SYSLOG_IDENTIFIER",
)  # fmt: skip
_INNER_KEYS = ("fields", "@fields", "log", "record", "data", "attributes")
_TIME_KEY_END = re.compile(r"(?i)(?:time(?:stamp)?|_at|_ts|date)\Z")
_ISO_FAST = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|\+00:?00)\Z"
)
_minutes: dict[str, float] = {}


def _cached_time(text: str, clock: Clock) -> float | None:
    """Return the time that a field is; the minutes of times in ISO 8601 are remembered."""
    if (match := _ISO_FAST.match(text)) is None:
        if _NUMBER.match(text):
            return _plausible_epoch(log_time.epoch_number(text))
        return log_time.text_time(text, clock)
    key = text[:16]
    base = _minutes.get(key)
    if base is None:
        found = log_time.text_time(f"{key}:00Z", clock)
        if found is None:
            return None
        if len(_minutes) > 50_000:
            _minutes.clear()
        base = _minutes[key] = found
    seconds = int(match[6])
    if seconds > 60:
        return None
    fraction = match[7]
    return base + seconds + (int(fraction) / 10 ** len(fraction) if fraction else 0.0)


def _plausible_epoch(seconds: float) -> float | None:
    return seconds if 1e8 < seconds < 1e10 else None


def value_time(value: Any, clock: Clock) -> float | None:
    """Return the time that a value of JSON is, in seconds since 1970, or None."""
    if isinstance(value, str):
        return _cached_time(value, clock) if value else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        digits = str(int(value)) if value > 0 else ""
        whole = log_time.epoch_number(digits) if digits else 0.0
        return _plausible_epoch(whole + (value % 1 if len(digits) < 11 else 0.0))
    if isinstance(value, dict):
        if "$date" in value:
            return value_time(value["$date"], clock)
        if "epochSecond" in value:
            return float(value["epochSecond"]) + float(value.get("nanoOfSecond", 0)) / 1e9
    return None


def json_time(data: dict[str, Any], clock: Clock) -> float | None:
    """Return the time of a record in JSON, by its known keys, then by any that ends like one."""
    for key in _TIME_KEYS:
        if key in data and (when := value_time(data[key], clock)) is not None:
            return when
    for key, value in data.items():
        if _TIME_KEY_END.search(key) and (when := value_time(value, clock)) is not None:
            return when
    for key in _INNER_KEYS:
        inner = data.get(key)
        if isinstance(inner, dict) and (when := json_time(inner, clock)) is not None:
            return when
    return None


def json_level(data: dict[str, Any]) -> str:
    """Return the level of a record in JSON; numbers are read as its other fields tell."""
    for key in _LEVEL_KEYS:
        if key not in data:
            continue
        value = data[key]
        if key == "s" and "c" not in data:
            continue  # the severity of MongoDB stands beside its component
        if isinstance(value, str):
            if key == "PRIORITY" and value.isdigit():
                return SYSLOG_LEVELS[int(value) % 8]
            known = level_word(value) or level_word(value.rstrip("0123456789"))
            if known:
                return known
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = int(value)
            if key == "PRIORITY" or "short_message" in data or "_version" in data:
                return SYSLOG_LEVELS[number % 8]
            if 0 <= number <= 4 and "reqId" in data:
                return ("debug", "info", "warn", "error", "fatal")[number]
            if known := level_number(number):
                return known
        elif isinstance(value, dict) and isinstance(value.get("name"), str):
            return level_word(value["name"])
    severity = data.get("severityNumber", data.get("severity_number"))
    if isinstance(severity, int) and 1 <= severity <= 24:
        return LEVELS[(severity - 1) // 4]
    for key in _INNER_KEYS:
        inner = data.get(key)
        if isinstance(inner, dict) and (known := json_level(inner)):
            return known
    return ""


_decode_json = json.JSONDecoder().decode


def load_object(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line is, or None."""
    try:
        found = _decode_json(line.decode("utf-8", "replace"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _json_head(line: bytes, clock: Clock) -> LineHead | None:
    if line[:1] != b"{" and line.lstrip()[:1] != b"{":
        return None
    data = load_object(line)
    if data is None:
        return None
    return LineHead(
        json_time(_otel_record(data) or data, clock), json_level(_otel_record(data) or data)
    )


def _otel_record(data: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first log record of a line of an OpenTelemetry collector."""
    try:
        found = (
            data["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
            if "resourceLogs" in data
            else None
        )
    except (KeyError, IndexError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def flat_fields(data: dict[str, Any], prefix: str = "") -> Fields:
    """Return nested fields with dotted names."""
    found: Fields = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found |= flat_fields(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def json_fields(line: bytes) -> Fields:
    """Return the fields of a record in JSON, nested ones dotted, with message and service."""
    data = load_object(line)
    if data is None:
        return {"message": line.decode("utf-8", "replace")}
    found = flat_fields(data)
    message = next((found[key] for key in _MESSAGE_KEYS if found.get(key)), None)
    if message is None:
        message = next(
            (value for key, value in found.items() if key.rpartition(".")[2] in _MESSAGE_KEYS), ""
        )
    if isinstance(message, list) and all(isinstance(n, int) and 0 <= n < 256 for n in message):
        message = bytes(message).decode("utf-8", "replace")  # as journalctl writes bytes
    service = next((found[key] for key in _SERVICE_KEYS if isinstance(found.get(key), str)), None)
    found["message"] = _ANSI.sub(b"", str(message).encode("utf-8", "replace")).decode(
        "utf-8", "replace"
    )
    return found if service is None else {**found, "service": service}


# Containers: lines within lines.

_CRI = re.compile(
    rb"^(\d{4}-\d\d-\d\dT[\d:]{8}(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF]) (.*)\Z",
    re.DOTALL,
)
_PREFIX = re.compile(
    rb"^(?:\[(pod/[^\]\s]+|[\w.-]+/[\w./-]+)\] |([A-Za-z][\w.-]*(?:[-_]\d+)?) +\| ?)(.*)\Z",
    re.DOTALL,
)
"""`[pod/name/container] ` of kubectl, `service-1  | ` of docker compose."""


def _cri_head(line: bytes, clock: Clock) -> LineHead | None:
    match = _CRI.match(line)
    if match is None:
        return None
    when = _cached_time(match[1].decode(), clock)
    return None if when is None else LineHead(when, _inner_level(match[4]))


def _inner_level(inner: bytes) -> str:
    """Return the level of a line that a container wrote: JSON or text."""
    if inner[:1] == b"{" and (data := load_object(inner)) is not None:
        return json_level(data)
    for style in _INNER_STYLES:
        if match := style.pattern.match(inner):
            return text_level(inner, match.end())
    return text_level(inner)


def _cri_unwrap(line: bytes) -> tuple[bytes, str, bool]:
    match = _CRI.match(line)
    return (match[4], match[2].decode(), match[3] == b"P") if match else (line, "", False)


def _docker_head(line: bytes, clock: Clock) -> LineHead | None:
    data = load_object(line) if line[:1] == b"{" else None
    if data is None or not isinstance(data.get("log"), str) or "time" not in data:
        return None
    inner = str(data["log"]).encode("utf-8", "replace")
    return LineHead(value_time(data["time"], clock), _inner_level(clean_line(inner.rstrip(b"\n"))))


def _docker_unwrap(line: bytes) -> tuple[bytes, str, bool]:
    data = load_object(line)
    if data is None or not isinstance(data.get("log"), str):
        return line, "", False
    inner = str(data["log"])
    return (
        inner.rstrip("\r\n").encode("utf-8", "replace"),
        str(data.get("stream", "")),
        not inner.endswith("\n"),
    )


def _inner_fields(unwrap: Unwrap) -> ReadFields:
    def read_fields(line: bytes) -> Fields:
        inner, stream, _ = unwrap(line)
        found = json_fields(inner) if inner[:1] == b"{" else _plain_fields(inner)
        return {"stream": stream, **found}

    return read_fields


def _plain_fields(line: bytes) -> Fields:
    return {"message": line.decode("utf-8", "replace"), **logfmt_fields(line)}


def _prefixed(inside: LogFormat) -> LogFormat:
    """Return the format of lines behind the prefix of compose or kubectl."""

    def read_head(line: bytes, clock: Clock) -> LineHead | None:
        match = _PREFIX.match(line)
        return inside.read_head(match[3], clock) if match else None

    def read_fields(line: bytes) -> Fields:
        match = _PREFIX.match(line)
        if match is None:
            return inside.read_fields(line)
        named = (match[1] or match[2]).decode().removeprefix("pod/")
        found: Fields = {**inside.read_fields(match[3]), "service": named.partition("/")[0]}
        return found | ({"container": named.partition("/")[2]} if "/" in named else {})

    name = inside.name if inside is PLAIN else f"compose {inside.name}"
    return LogFormat(name, read_head, read_fields, inside.zone, inside.year, MATCH, inside.style)


def _plain_head(line: bytes, clock: Clock) -> LineHead | None:
    """Take every line for a record that does not look like the rest of one."""
    return None if _CONTINUED.match(line) else LineHead(None, text_level(line))


PLAIN = LogFormat("plain", _plain_head, _plain_fields)
_JSON = LogFormat("json", _json_head, json_fields)
_LOGFMT = LogFormat("logfmt", _logfmt_head, _logfmt_all_fields)
_CRI_FORMAT = LogFormat("cri", _cri_head, _inner_fields(_cri_unwrap), unwrap=_cri_unwrap)
_DOCKER = LogFormat("docker", _docker_head, _inner_fields(_docker_unwrap), unwrap=_docker_unwrap)
_JSON_NAMES = (
    ("docker", lambda keys: {"log", "time"} <= keys),
    ("journal json", lambda keys: "__REALTIME_TIMESTAMP" in keys),
    ("mongodb", lambda keys: {"t", "s", "c", "msg"} <= keys),
)
_EXPORT_TIME = re.compile(rb"(?m)^__REALTIME_TIMESTAMP=(\d{16})\r?$")
_EXPORT_PRIORITY = re.compile(rb"(?m)^PRIORITY=([0-7])\r?$")


def _export_head(text: bytes, clock: Clock) -> LineHead | None:
    """Read a whole record as journalctl exports it."""
    match = _EXPORT_TIME.search(text)
    priority = _EXPORT_PRIORITY.search(text)
    level = SYSLOG_LEVELS[int(priority[1])] if priority else ""
    return LineHead(int(match[1]) / 1e6 if match else None, level)


def _export_fields(text: bytes) -> Fields:
    pairs = (line.partition(b"=") for line in text.split(b"\n") if b"=" in line)
    found: Fields = {key.decode("utf-8", "replace"): field_value(value.decode("utf-8", "replace"))
                     for key, _, value in pairs}  # fmt: skip
    found["message"] = found.get("MESSAGE", "")
    service = found.get("_SYSTEMD_UNIT", found.get("SYSLOG_IDENTIFIER"))
    return found if service is None else {**found, "service": service}


_EXPORT = LogFormat("journal export", _export_head, _export_fields, starts=BLANK)
_PRETTY = LogFormat("pretty json", _json_head, json_fields, starts=BRACE)


def _w3c_format(lines: Sequence[bytes]) -> LogFormat | None:
    """Return the format of an extended W3C log: its own header names the fields."""
    header = next((line for line in lines if line.startswith(b"#Fields:")), None)
    if header is None:
        return None
    names = header.removeprefix(b"#Fields:").decode("utf-8", "replace").split()
    day = next((m[0] for line in lines if line.startswith((b"#Date:", b"#Start-Date:"))
                and (m := re.search(rb"\d{4}-\d\d-\d\d", line))), b"")  # fmt: skip
    words = re.compile(rb'"(?:[^"]|"")*"|\S+')

    def split_fields(line: bytes) -> dict[str, str]:
        found = [word.decode("utf-8", "replace").strip('"') for word in words.findall(line)]
        return dict(zip(names, found, strict=False))

    def read_head(line: bytes, clock: Clock) -> LineHead | None:
        if line[:1] == b"#" or not line:
            return None
        row = split_fields(line)
        stamp = f"{row.get('date', day.decode())} {row.get('time', '00:00:00')}Z"
        when = _cached_time(stamp.replace(" ", "T", 1), clock)
        if when is None:
            return None
        status = row.get("sc-status", "")
        return LineHead(when, status_level(int(status)) if status.isdigit() else "")

    def read_fields(line: bytes) -> Fields:
        row: Fields = {name: field_value(value) for name, value in split_fields(line).items()}
        named = {"sc-status": "status", "cs-method": "method", "cs-uri-stem": "path",
                 "time-taken": "dur_ms", "c-ip": "client"}  # fmt: skip
        row |= {named[key]: value for key, value in row.items() if key in named}
        return row | {"message": line.decode("utf-8", "replace")}

    return LogFormat("w3c", read_head, read_fields)


_INNER_STYLES = [style for style in log_time.STYLES if style.name in ("iso", "syslog", "glog")]
_FIRST_SHARE, _FEW_SHARE, _INSIDE_SHARE = 0.05, 0.2, 0.5
"""Least shares of a format: with two lines, with one, and where the time is within the line."""


_TEST_LINE = re.compile(
    rb"\S+::\S+ (?:PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b|--- (?:PASS|FAIL|SKIP): "
)


def _test_head(line: bytes, clock: Clock) -> LineHead | None:
    """Take each line of a test run for a record; some have the time of the CI that ran it."""
    if (stamp := _CI_STAMP.match(line)) is not None:
        return LineHead(_cached_time(stamp[1].decode(), clock), text_level(line, stamp.end()))
    return _plain_head(line, clock)


_CI_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT[\d:]{8}\.\d+Z) ")
_TEST_RUN = LogFormat("pytest", _test_head, _plain_fields)


def detect_format(lines: Sequence[bytes], clock: Clock, more: Iterable[LogFormat] = ()) -> Detected:
    """Return what reads most of some sampled lines; a file of few such lines is plain."""
    cleaned = [clean_line(line) for line in lines]
    plain = [line for line in cleaned if line]
    known = [line for line in plain if not _CONTINUED.match(line)] or plain
    if not plain:
        return Detected((PLAIN,), 0.0)
    if sum(line.startswith(b"__REALTIME_TIMESTAMP=") for line in plain) and any(
        line.startswith(b"__CURSOR=") for line in plain
    ):
        return Detected((_EXPORT,), 1.0)
    if (w3c := _w3c_format(plain)) is not None:
        return Detected((w3c,), _share(w3c, [x for x in known if x[:1] != b"#"], clock))
    if sum(line == b"{" for line in plain) >= 1 and sum(line[:1] == b"}" for line in plain) >= 1:
        return Detected((_PRETTY,), 1.0)
    prefixed = [match for line in plain if (match := _PREFIX.match(line))]
    if len(prefixed) >= max(1, 0.6 * len(plain)):
        inside = detect_format([match[3] for match in prefixed], clock)
        wrapped = tuple(_prefixed(found) for found in inside.formats)
        return Detected(
            (*wrapped, PLAIN) if inside.formats[0] is PLAIN else (*wrapped, _prefixed(PLAIN)),
            inside.share,
        )
    tests = sum(_TEST_LINE.search(line) is not None for line in plain)
    if tests >= 0.4 * len(plain):
        return Detected((_TEST_RUN,), tests / len(plain))
    return _detect_lines(plain, known, clock, more)


def _detect_lines(
    plain: Sequence[bytes], known: Sequence[bytes], clock: Clock, more: Iterable[LogFormat]
) -> Detected:
    found: list[LogFormat] = []
    left, share, most = list(plain), 0.0, 0.0
    candidates = [*more, *_field_formats(plain)]
    while left and len(found) < 3:
        counts = {
            id(fmt): (sum(_reads(fmt, line, clock) for line in left), fmt) for fmt in candidates
        }
        best = max(counts.values(), key=lambda item: item[0], default=(0, PLAIN))
        style, hits = _best_style(left, clock)
        if style is not None and hits > best[0]:
            best = (hits, _text_format(style, left, clock))
        read, fmt = best
        inside = fmt.style == "iso inside" or (fmt.style in _INSIDE and fmt.style != "access")
        part = read / max(1, len(known))
        most = most or part
        least = _INSIDE_SHARE if inside and found else (0.3 if inside else 0.0)
        enough = (read >= 2 and part >= _FIRST_SHARE) or part >= _FEW_SHARE
        if not read or not enough or part < least:
            break
        share = share or part
        found.append(fmt)
        left = [line for line in left if not _reads(fmt, line, clock)]
    return Detected(tuple(found) or (PLAIN,), min(1.0, share or most))


_INSIDE = frozenset(style.name for style in log_time.STYLES if style.pattern.pattern[:1] != b"^")


def _reads(fmt: LogFormat, line: bytes, clock: Clock) -> bool:
    head = fmt.read_head(line, clock)
    return head is not None and (head.time is not None or fmt is _JSON)


def _share(fmt: LogFormat, lines: Sequence[bytes], clock: Clock) -> float:
    return sum(_reads(fmt, line, clock) for line in lines) / max(1, len(lines))


def _field_formats(lines: Sequence[bytes]) -> list[LogFormat]:
    """Return the formats of fields that the lines may have, those that say most first."""
    objects = [data for line in lines if line[:1] == b"{" and (data := load_object(line))]
    found = [_CRI_FORMAT]
    if objects:
        keys = Counter(key for data in objects for key in data)
        common = {key for key, count in keys.items() if count >= 0.5 * len(objects)}
        name = next((name for name, has in _JSON_NAMES if has(common)), "json")
        found.append(_DOCKER if name == "docker" else _JSON if name == "json"
                     else LogFormat(name, _json_head, json_fields))  # fmt: skip
    if sum(len(_LOGFMT_PAIR.findall(line)) >= 3 for line in lines) >= 0.5 * len(lines):
        found.append(_LOGFMT)
    return found


def _best_style(lines: Sequence[bytes], clock: Clock) -> tuple[TimeStyle | None, int]:
    best: tuple[TimeStyle | None, int] = (None, 0)
    for style in log_time.STYLES:
        hits = sum(read_time(style, line, clock) is not None for line in lines)
        if hits > best[1]:
            best = (style, hits)
        if hits == len(lines):
            break
    return best


def _text_format(style: TimeStyle, lines: Sequence[bytes], clock: Clock) -> LogFormat:
    """Return a text format: the style of its times, and the layout that most of them have."""
    timed = [line for line in lines if read_time(style, line, clock) is not None]
    layout = ""
    for name, pattern in _COMPILED:
        if sum(pattern.match(line) is not None for line in timed) >= 0.6 * len(timed):
            layout = name
            break
    name = layout or {"glog": "glog", "syslog": "syslog"}.get(style.name, "text")
    zone = style.zone and all(_has_zone(style, line) for line in timed[:20])
    return LogFormat(name, _text_head(style, layout), _text_fields(style, layout), zone,
                     style.year, MATCH, style.name)  # fmt: skip


def _has_zone(style: TimeStyle, line: bytes) -> bool:
    match = style.pattern.search(line, 0, log_time.HEAD_BYTES)
    groups = match.groups() if match else ()
    return style.parse.__name__ not in ("_parse_iso", "_parse_apache") or bool(
        groups and groups[-1]
    )


def line_level(line: bytes) -> str:
    """Return the level of a single line of a log whose format is not known."""
    line = clean_line(line)
    if line[:1] == b"{" and (data := load_object(line)) is not None:
        return json_level(_otel_record(data) or data)
    if (priority := _PRIORITY.match(line)) and int(priority[1]) < 192:
        return SYSLOG_LEVELS[int(priority[1]) % 8]
    for letters in _LETTER_STYLES.values():
        if letter := letters.match(line):
            return LETTERS[letter[1].decode()]
    if exported := _EXPORT_PRIORITY.match(line):
        return SYSLOG_LEVELS[int(exported[1])]
    match = next((m for style in log_time.STYLES if (m := style.pattern.match(line))), None)
    level = text_level(line, match.end() if match else 0)
    if not level and (status := _STATUS.search(line)):
        return status_level(int(status[1]))
    return level
