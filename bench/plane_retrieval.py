"""How high ranking puts the place that a question asks for: 40 questions, answers known by hand.

A question counts the reciprocal of the rank of the first passage of the right document, and of the
first one that also holds the right definition, among the first ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlm_mcp.corpus.code import rank_passages
from rlm_mcp.corpus.store import Corpus

FIRST = 10


class Asked(NamedTuple):
    """A question, the document that answers it, and the line of code that starts the answer."""

    question: str
    path: str
    line: str


QUESTIONS = {
    "Django": (
        Asked("How does Django escape HTML in text?", "django/utils/html.py", "def escape("),
        Asked("Where are slugs made from strings?", "django/utils/text.py", "def slugify("),
        Asked("How is a raw password hashed with PBKDF2?", "django/contrib/auth/hashers.py",
              "class PBKDF2PasswordHasher"),
        Asked("How is a URL reversed from a view name?", "django/urls/base.py", "def reverse("),
        Asked("Where is the CSRF token checked on a request?", "django/middleware/csrf.py",
              "def process_view("),
        Asked("What loads the middleware chain of the handler?", "django/core/handlers/base.py",
              "def load_middleware("),
        Asked("How are migrations autodetected from model changes?",
              "django/db/migrations/autodetector.py", "class MigrationAutodetector"),
        Asked("How does the paginator compute the number of pages?",
              "django/core/paginator.py", "def num_pages("),
        Asked("bulk_create of a queryset", "django/db/models/query.py", "def bulk_create("),
        Asked("How is the session key cycled after login?",
              "django/contrib/sessions/backends/base.py", "def cycle_key("),
        Asked("Where is the current timezone activated?", "django/utils/timezone.py",
              "def activate("),
        Asked("Validation of email addresses", "django/core/validators.py",
              "class EmailValidator"),
        Asked("How does a template get compiled into a nodelist?", "django/template/base.py",
              "def compile_nodelist("),
        Asked("What sends a signal to all receivers?", "django/dispatch/dispatcher.py",
              "def send("),
        Asked("How is an uploaded file written to disk when it is large?",
              "django/core/files/uploadedfile.py", "class TemporaryUploadedFile"),
        Asked("atomic transactions and savepoints", "django/db/transaction.py", "class Atomic"),
        Asked("How are static files collected to the static root?",
              "django/contrib/staticfiles/management/commands/collectstatic.py", "class Command"),
        Asked("What signs values with a timestamp?", "django/core/signing.py",
              "class TimestampSigner"),
        Asked("file based cache backend culling", "django/core/cache/backends/filebased.py",
              "def _cull("),
        Asked("How does the development server reload when code changes?",
              "django/utils/autoreload.py", "def run_with_reloader("),
    ),
    "cpython": (
        Asked("How does json scan a string in pure Python?", "Lib/json/decoder.py",
              "def py_scanstring("),
        Asked("What parses HTTP headers in the client?", "Lib/http/client.py",
              "def parse_headers("),
        Asked("How does a dict resize?", "Objects/dictobject.c", "dictresize("),
        Asked("Where is the garbage collector's main collection done?", "Modules/gcmodule.c",
              "gc_collect_main("),
        Asked("How is a unicode object decoded from UTF-8?", "Objects/unicodeobject.c",
              "unicode_decode_utf8("),
        Asked("How does asyncio run a coroutine until complete?",
              "Lib/asyncio/base_events.py", "def run_until_complete("),
        Asked("lru cache wrapper", "Lib/functools.py", "def _lru_cache_wrapper("),
        Asked("How does argparse format the usage message?", "Lib/argparse.py",
              "def _format_usage("),
        Asked("What copies a directory tree recursively?", "Lib/shutil.py", "def copytree("),
        Asked("How are list objects sorted (merge of runs)?", "Objects/listobject.c",
              "list_sort_impl("),
        Asked("How does logging rotate files by size?", "Lib/logging/handlers.py",
              "class RotatingFileHandler"),
        Asked("thread pool executor worker loop", "Lib/concurrent/futures/thread.py",
              "def _worker("),
        Asked("How does the zipfile module read the central directory?", "Lib/zipfile.py",
              "def _RealGetContents("),
        Asked("How does subprocess communicate with a timeout?", "Lib/subprocess.py",
              "def communicate("),
        Asked("Where does the import system find a spec on the path?",
              "Lib/importlib/_bootstrap_external.py", "def find_spec("),
        Asked("How does difflib find the longest matching block?", "Lib/difflib.py",
              "def find_longest_match("),
        Asked("pickle save of a global object", "Lib/pickle.py", "def save_global("),
        Asked("How is a dataclass's __init__ generated?", "Lib/dataclasses.py",
              "def _init_fn("),
        Asked("What small objects does the memory allocator pool in arenas?",
              "Objects/obmalloc.c", "new_arena("),
        Asked("How does csv sniff the dialect?", "Lib/csv.py", "def sniff("),
    ),
}  # fmt: skip


def measure_retrieval(name: str, corpus: Corpus) -> None:
    """Print the mean reciprocal ranks for a tree that there are questions for."""
    asked = [one for one in QUESTIONS.get(name, ()) if corpus.find_document(one.path) is not None]
    if not asked:
        return
    documents, places = zip(*(_reciprocals(corpus, one) for one in asked), strict=True)
    text = f"{len(asked)} questions, mean reciprocal rank of the document and of the definition"
    print(f"| retrieval | {_mean(documents):.3f}, {_mean(places):.3f} | | | | {text} |")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _reciprocals(corpus: Corpus, asked: Asked) -> tuple[float, float]:
    document = place = 0.0
    lines = corpus.document_bytes(asked.path).decode("utf-8", "replace").split("\n")
    starts = {number for number, line in enumerate(lines, 1) if asked.line in line}
    for number, hit in enumerate(rank_passages(corpus, asked.question, limit=FIRST), 1):
        if hit.path == asked.path:
            document = document or 1 / number
            if any(hit.start <= start <= hit.end for start in starts):
                place = place or 1 / number
    return document, place
