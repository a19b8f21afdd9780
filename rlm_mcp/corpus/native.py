"""Names that a language has of its own: where they are used, a definition is seldom meant."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

_METHODS = (str, list, dict, set, bytes)
_WORDS = {
    "python": " ".join(name for kind in (builtins, *_METHODS) for name in dir(kind)),
    "javascript": """
        Array BigInt Boolean Date Error JSON Map Math Number Object Promise Proxy RegExp Set String
        Symbol TypeError Uint8Array WeakMap assign bind call catch concat console constructor every
        filter finally find forEach from includes indexOf isArray join keys log map parse pop push
        reduce replace require resolve reverse shift slice some sort splice split stringify super
        test then toString trim unshift values""",
    "c": """
        NULL assert atoi calloc errno exit fclose fopen fprintf free malloc memcmp memcpy memmove
        memset offsetof printf realloc size_t snprintf sprintf stderr stdout strchr strcmp strcpy
        strdup strerror strlen strncmp strncpy strtol uint16_t uint32_t uint64_t uint8_t va_end
        va_start""",
    "cpp": """
        back begin c_str count cout data emplace_back empty end endl erase find front get insert
        make_pair make_shared make_unique map move pair pop_back push_back reset shared_ptr size
        static_cast std string swap to_string unique_ptr vector""",
    "go": """
        Error Errorf Fatal Fatalf Fprintf Printf Println Sprintf String append cap close copy delete
        len make new panic print println recover""",
    "rust": """
        Arc Box Err HashMap None Ok Option Rc Result Some String Vec as_ref as_str assert assert_eq
        borrow clone cloned collect default expect filter format from into is_empty is_none is_some
        iter len map new next ok panic println push to_owned to_string unwrap vec write""",
    "java": """
        ArrayList Boolean Exception HashMap Integer List Long Map Object Optional Override Set
        String StringBuilder add append contains equals format get getClass getName hashCode isEmpty
        iterator length println put remove size stream substring super toArray toString valueOf""",
    "csharp": """
        Action Add ArgumentException ArgumentNullException Console Contains Count Dictionary Equals
        Exception First Format Func GetHashCode GetType List Remove Select String Task ToArray
        ToList ToString Where WriteLine""",
    "ruby": """
        Array Hash String StandardError attr_accessor attr_reader block_given? each empty? first
        freeze include? inspect join keys last length map merge new nil? p print puts raise require
        select size split super to_a to_h to_i to_s to_sym""",
    "php": """
        Exception array_filter array_key_exists array_keys array_map array_merge count empty explode
        implode in_array is_array is_null is_string isset sprintf str_replace strlen substr trim
        unset""",
    "bash": "cd echo eval exit export local printf read set shift source test trap unset",
}
_ALSO = {
    "typescript": ("javascript",), "tsx": ("javascript",), "cpp": ("c",), "kotlin": ("java",),
    "scala": ("java",),
}  # fmt: skip


def _of(language: str) -> Iterator[str]:
    for also in (language, *_ALSO.get(language, ())):
        yield from _WORDS.get(also, "").split()


_NAMES = {language: frozenset(_of(language)) for language in {*_WORDS, *_ALSO}}


def native(language: str) -> frozenset[str]:
    """Return the names that a language has of its own: built in, or of what it comes with."""
    return _NAMES.get(language, frozenset())
