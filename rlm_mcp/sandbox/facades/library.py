"""The standard library as cells see it: one line a module, every export named.

A name is exported only if it neither evaluates text, nor takes attribute names as data, nor hands
out frames, modules or metaclasses; a test goes through every callable. What fails that but is
wanted has a safe form in `shims`.
"""

from __future__ import annotations

import importlib
import time

PLAIN_NAMES = {
    "abc": "ABC abstractmethod",
    "array": "array",
    "base64": (
        "b64encode b64decode urlsafe_b64encode urlsafe_b64decode standard_b64encode "
        "standard_b64decode b32encode b32decode b16encode b16decode b85encode b85decode "
        "a85encode a85decode"
    ),
    "binascii": "hexlify unhexlify crc32 b2a_hex a2b_hex b2a_base64 a2b_base64 Error",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "calendar": (
        "monthrange isleap leapdays weekday timegm month monthcalendar calendar "
        "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY"
    ),
    "cmath": "sqrt exp log phase polar rect pi e isnan isinf isclose",
    "collections": "Counter OrderedDict defaultdict deque ChainMap",
    "colorsys": "rgb_to_hsv hsv_to_rgb rgb_to_hls hls_to_rgb rgb_to_yiq yiq_to_rgb",
    "contextlib": "nullcontext closing",
    "copy": "",
    "csv": (
        "reader writer DictReader DictWriter QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC "
        "Error excel excel_tab unix_dialect"
    ),
    "dataclasses": "field KW_ONLY MISSING InitVar FrozenInstanceError",
    "datetime": "datetime date time timedelta timezone tzinfo UTC MINYEAR MAXYEAR",
    "decimal": (
        "Decimal ROUND_HALF_UP ROUND_HALF_EVEN ROUND_HALF_DOWN ROUND_DOWN ROUND_UP ROUND_FLOOR "
        "ROUND_CEILING ROUND_05UP getcontext localcontext InvalidOperation DivisionByZero Inexact "
        "Overflow DecimalException"
    ),
    "difflib": (
        "SequenceMatcher unified_diff ndiff context_diff get_close_matches Differ restore "
        "IS_LINE_JUNK IS_CHARACTER_JUNK"
    ),
    "enum": "auto unique",
    "fnmatch": "fnmatch fnmatchcase filter translate",
    "fractions": "Fraction",
    "functools": "reduce cmp_to_key cached_property",
    "hashlib": (
        "md5 sha1 sha224 sha256 sha384 sha512 blake2b blake2s sha3_224 sha3_256 sha3_384 sha3_512"
    ),
    "heapq": "heappush heappop heapify heappushpop heapreplace nlargest nsmallest merge",
    "hmac": "compare_digest",
    "html": "escape unescape",
    "io": "BytesIO",
    "itertools": (
        "accumulate chain combinations combinations_with_replacement compress count cycle "
        "dropwhile filterfalse groupby islice pairwise permutations product repeat starmap "
        "takewhile tee zip_longest batched"
    ),
    "json": "dumps JSONDecodeError JSONEncoder",
    "keyword": "iskeyword issoftkeyword",
    "math": (
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e "
        "erf erfc exp exp2 expm1 fabs factorial floor fma fmod frexp fsum gamma gcd hypot inf "
        "isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nan "
        "nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod tan tanh tau trunc ulp"
    ),
    "numbers": "Number Complex Real Rational Integral",
    "operator": (
        "add sub mul truediv floordiv mod pow neg pos abs eq ne lt le gt ge and_ or_ xor not_ "
        "truth is_ is_not contains countOf indexOf getitem setitem delitem itemgetter concat iadd "
        "lshift rshift invert inv index matmul"
    ),
    "pprint": "",
    "random": (
        "random randint randrange choice choices shuffle sample uniform seed gauss betavariate "
        "expovariate normalvariate triangular getrandbits lognormvariate paretovariate "
        "weibullvariate Random randbytes"
    ),
    "secrets": "token_hex token_urlsafe token_bytes choice randbelow compare_digest",
    "shlex": "split quote join",
    "statistics": (
        "mean fmean median median_low median_high mode multimode stdev pstdev variance pvariance "
        "quantiles harmonic_mean geometric_mean correlation covariance linear_regression "
        "NormalDist StatisticsError median_grouped"
    ),
    "string": (
        "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation "
        "printable whitespace capwords Template"
    ),
    "struct": "pack unpack calcsize iter_unpack unpack_from Struct error",
    "textwrap": "dedent indent fill wrap shorten TextWrapper",
    "tomllib": "loads TOMLDecodeError",
    "time": (
        "time time_ns perf_counter perf_counter_ns monotonic monotonic_ns process_time sleep "
        "strftime gmtime localtime mktime asctime ctime strptime struct_time"
    ),
    "unicodedata": "name lookup category normalize is_normalized combining decimal digit numeric "
    "bidirectional east_asian_width mirrored decomposition",
    "urllib.parse": (
        "urlparse urlunparse urlsplit urlunsplit urljoin quote quote_plus unquote unquote_plus "
        "urlencode parse_qs parse_qsl urldefrag"
    ),
    "uuid": "uuid3 uuid4 uuid5 UUID NAMESPACE_DNS NAMESPACE_URL NAMESPACE_OID",
    "zlib": "crc32 adler32 compress decompress error",
}
"""Module -> names that are handed out as they are."""

ABSTRACT_NAMES = (
    "Iterable Iterator Generator Mapping MutableMapping Sequence MutableSequence Set MutableSet "
    "Callable Hashable Sized Container Collection Reversible Awaitable Coroutine KeysView "
    "ValuesView ItemsView"
)
"""Names of collections.abc."""


def preload_modules() -> None:
    """Import every module; nothing can be imported once the worker is locked."""
    for name in [*PLAIN_NAMES, "collections.abc", *_HIDDEN_MODULES]:
        importlib.import_module(name)
    time.localtime()  # reads the zone while it can
    for codec in _CODECS:
        "".encode(codec)


_HIDDEN_MODULES = ("_strptime", "encodings.idna", "stringprep", "ast", "re", "locale")
_CODECS = (
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "ascii",
    "cp1252", "cp437", "iso8859-15", "unicode_escape", "raw_unicode_escape", "idna", "punycode",
)  # fmt: skip


def plain_exports(name: str) -> dict[str, object]:
    """Return the exports of a module that need no shim (those that this Python has)."""
    module = importlib.import_module(name)
    words = PLAIN_NAMES[name].split()
    return {word: getattr(module, word) for word in words if hasattr(module, word)}
