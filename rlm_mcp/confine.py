"""Keep every source inside the roots, and secrets out of sight.

A path is resolved first, checked against the roots, and then opened component by component
without following a link, so that a swap between the check and the open fails instead of leaving.
Files that hold secrets by their name (.env, keys, credentials) are refused by default wherever
they show up: in the working tree, behind a link, at a revision, in a diff.

It judges names and kinds of files, not contents: a secret in an ordinary file is `redact`'s work.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlm_mcp.errors import BadRequest, Denied, Unavailable
from rlm_mcp.files import ANY_LINK, READ_FOLDER_NO_LINK, READ_NO_LINK

DENIED_FILES = (
    ".env", ".env.*", ".env[-_]*", ".envrc", "*.env",
    "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.pkcs12", "*.pvk", "*.ppk", "*.agekey", "*.ovpn",
    "*.jks", "*.jceks", "*.bks", "*.bcfks", "*.keystore", "*.kdb", "*.kdbx", "secring.*",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*",
    "wallet.dat", "*.wallet", "default_wallet", "cwallet.sso", "utc--*--*",
    "credentials", "credentials.json", "credentials.yml", "credentials.yaml", "credentials.xml",
    "credentials.toml", "credentials.csv", "credentials.ini", "credentials.properties",
    ".credentials", ".credentials.*", "credentials.tfrc.json", "credentials.db",
    "application_default_credentials.json", "client_secret*.json", "accesskeys.csv",
    "*_accesskeys.csv", "rootkey.csv", "*firebase-adminsdk*.json", "kaggle.json",
    "service-account*.json", "service_account*.json", "serviceaccount*.json",
    "*-service-account.json", "*_service_account.json",
    "secrets.yml", "secrets.yaml", "secrets.json", "secrets.toml", "secrets.ini",
    "secrets.properties", "secrets.xml", ".secrets", ".secrets.*",
    ".netrc", "_netrc", ".netrc.*", "_netrc.*", ".authinfo", ".authinfo.*",
    ".npmrc", ".pypirc", ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".boto", ".s3cfg",
    ".htpasswd", ".htdigest", "htpasswd", ".passwd-s3fs", ".smbcredentials", ".git-credentials",
    ".dockercfg", ".dockerconfigjson", ".databrickscfg", ".terraformrc", "terraform.rc",
    ".msmtprc", ".fetchmailrc", "rclone.conf", "sftp-config.json",
    ".vault-token", ".vault-pass*", ".vault_pass*",
    "*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json",
    "kubeconfig", "kubeconfig.y*ml", "kubeconfig.json", "kubeconfig.conf", "*.kubeconfig",
    "*[-_.]kubeconfig", "*[-_.]kubeconfig.y*ml", "kubeconfig[-_]*.y*ml", "kube_config*.y*ml",
    ".*_history", ".*_history-*", "bash_history", "zsh_history", "fish_history", ".history",
    ".histfile", ".zhistory", ".dbshell", "mongosh_repl_history", "consolehost_history.txt",
    ".lesshst", ".viminfo",
    "shadow", "gshadow", "shadow-", "gshadow-",
)  # fmt: skip
"""Names of files that are refused by default, compared without case; their backups are too."""

HARMLESS_FILES = (
    ".env.example", ".env.sample", ".env.template", ".env.dist", ".env.*.example",
    ".env.*.sample", ".env.*.template", ".env.*.dist", ".env[-_]example", ".env[-_]sample",
    ".env[-_]template", "example.env", "sample.env", "template.env", "*example.tfvars",
    "*sample.tfvars", "id_*.pub",
)  # fmt: skip
"""Exceptions: files that document secrets without holding them, and public keys."""

DENIED_FOLDERS = frozenset(
    {".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", "gcloud", ".oci", ".password-store"}
)
"""Folders of which no file is opened by default."""

DENIED_PATHS = (r"gh/hosts\.ya?ml", r"(?:composer|\.codex)/auth\.json")
"""Ends of paths that are refused by default, where the name alone says too little."""

_VIRTUAL_FOLDERS = ("/proc", "/sys", "/dev")


_NAMES = frozenset(name for name in DENIED_FILES if not set(name) & set("*?["))
_ENDINGS = tuple(name[1:] for name in DENIED_FILES if re.fullmatch(r"\*[\w.-]+", name))
_GLOBS = [name for name in DENIED_FILES if name not in _NAMES and name[1:] not in _ENDINGS]


def _joined(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, globs)))


_ANYWHERE = _joined(name for name in _GLOBS if name[0] == "*")
_INSIDE = frozenset(
    max(re.split(r"\*|\[.*?\]", name), key=len) for name in _GLOBS if name[0] == "*"
)
"""The longest plain part of each pattern of those: where none is, none matches."""
_BY_FIRST = {
    first: _joined(name for name in _GLOBS if name[0] == first)
    for first in {name[0] for name in _GLOBS} - {"*"}
}
"""Patterns by the character that a name begins with: most paths begin with another one."""
_HARMLESS = _joined(HARMLESS_FILES)
_FOLDERS = re.compile(rf"(?:\A|/)(?:{'|'.join(map(re.escape, sorted(DENIED_FOLDERS)))})[. ]*/")
_PATHS = re.compile(rf"(?:.*/)?(?:{'|'.join(DENIED_PATHS)})\Z", re.DOTALL)
_WORDS = ("bak", "backup", "old", "orig", "original", "save", "saved", "copy", "prev", "previous",
          "tmp", "temp", "rej", "disabled", "swp", "swo", "swn", "swm", "swx", "rpmsave", "rpmnew",
          "rpmorig", "dpkg-old", "dpkg-dist", "dpkg-new", "ucf-old", "ucf-dist")  # fmt: skip
_MARKS = ("~", "#", ")", *_WORDS, *"0123456789")
_BACKUP = re.compile(
    rf"(?:~|#|[-_. ]+(?:{'|'.join(_WORDS)}|~?\d{{1,14}}~?|\d{{4}}-\d\d-\d\d)| ?\(\d{{1,3}}\))\Z"
)
"""What programs and people add to the name of a copy that they keep."""
_LEADS = ("#", ".#", ".~", "copy of ", "backup of ")
_COPY = re.compile(r"\A(?:\.?#|\.~(?:lock\.)?|copy of |backup of )")


def is_denied(path: str) -> bool:
    """Say whether a file of this name is refused by default; `path` may be relative.

    It is asked about every path of a repository.
    """
    path = path.casefold().replace("\\", "/")
    name = path[path.rfind("/") + 1 :]
    if ":" in name or name.endswith((".", " ")):
        name = name.partition(":")[0].rstrip(". ")  # on NTFS, x.pem:stream and x.pem. are x.pem
    if _FOLDERS.search(path) is not None:
        return True
    if name.startswith(("hosts.y", "auth.json")):
        return _PATHS.match(path[: len(path) - len(name)] + _original(name)) is not None
    if _names_secrets(name):
        return not _HARMLESS.match(_original(name))
    if not name.endswith(_MARKS) and not name.startswith(_LEADS):
        return False
    # A backup, for which some editors put a dot before the name.
    first = _original(name)
    return any(map(_names_secrets, (first, first[1:]))) and not _HARMLESS.match(first)


def _names_secrets(name: str) -> bool:
    if name in _NAMES or name.endswith(_ENDINGS):
        return True
    if any(part in name for part in _INSIDE) and _ANYWHERE.match(name):
        return True
    if name.startswith(("kubeconfig-", "kubeconfig_")) and "." not in name:
        return True
    patterns = _BY_FIRST.get(name[:1])
    return patterns is not None and patterns.match(name) is not None


def _original(name: str) -> str:
    """Return the name of the file that a backup is of, or the name itself."""
    while match := _BACKUP.search(name):
        name = name[: match.start()]
    return _COPY.sub("", name) or name


class Confine:
    """The roots in force, and the one way to open a file of theirs."""

    def __init__(self, roots: Sequence[Path], *, secrets: bool = False) -> None:
        self.roots = tuple(Path(os.path.realpath(root)) for root in roots)
        self.secrets = secrets

    def is_within(self, path: Path) -> bool:
        """Say whether `path`, which is already resolved, lies under a root."""
        return any(path == root or path.is_relative_to(root) for root in self.roots)

    def with_root(self, folder: Path) -> Confine:
        """Return the same rules with `folder` as a further root (a clone in the cache)."""
        return Confine((*self.roots, folder), secrets=self.secrets)

    def resolve_path(self, source: str | Path) -> Path:
        """Return the real path of an existing `source`, relative ones from the first root.

        Raises Denied (outside the roots, a denied name), BadRequest (no such path, a device, a
        pipe, a socket), Unavailable (no permission).
        """
        text = os.fspath(source)
        if "\0" in text:
            raise BadRequest("A path holds no NUL character.")
        asked = self.source_path(text)
        try:
            path = Path(os.path.realpath(asked, strict=True))
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_outside(Path(os.path.realpath(asked)), text)
            raise BadRequest(f"There is no file or folder {text!r} under the roots.") from None
        except PermissionError:
            self._refuse_outside(Path(os.path.realpath(asked)), text)
            raise Unavailable(f"No permission to look at {text!r}.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it cannot be read"
            raise BadRequest(f"{text[:200]!r} is not a usable path: {reason}.") from None
        self._refuse_outside(path, text)
        self._refuse_secret((str(asked), str(path)), text)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise Unavailable(f"Cannot look at {text!r}: {error.strerror}.") from None
        if reason := special_kind(mode, path):
            raise BadRequest(f"{text!r} is {reason}; only files and folders can be opened.")
        return path

    def source_path(self, text: str) -> Path:
        """Return the path that a source names, unresolved; relative ones from the first root."""
        base = self.roots[0] if self.roots else Path.cwd()
        try:
            return base / Path(text).expanduser()
        except RuntimeError:
            return base / text  # ~nobody, of whom no home is known

    def exclude_reason(self, path: Path) -> str | None:
        """Return why a loader must leave `path` out by its name, or None; never raises.

        Links and special files are the loader's to see: it opens without following.
        """
        if self.secrets or not is_denied(self._below_root(os.fspath(path))):
            return None
        return "denied"

    def refuse_name(self, path: str) -> None:
        """Raise Denied where a file of this name may be shown at no revision."""
        if not self.secrets and is_denied(path):
            raise Denied(_secret_sentence(path))

    def open_file(self, path: Path) -> int:
        """Return a descriptor of the regular file at the resolved `path`, following no link."""
        root = next((r for r in self.roots if path.is_relative_to(r)), None)
        if root is None:
            raise Denied(f"{path.name!r} is outside the roots.")
        if not self.secrets and is_denied(str(path.relative_to(root))):
            raise Denied(_secret_sentence(path.name))
        try:
            fd = _open_below(root, path.relative_to(root).parts)
        except PermissionError:
            raise Unavailable(f"No permission to read {path.name!r}.") from None
        except FileNotFoundError:
            raise Unavailable(f"{path.name!r} was deleted.") from None
        except OSError as error:
            raise Denied(f"{path.name!r} cannot be opened safely: {error.strerror}.") from None
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise BadRequest(
                f"{path.name!r} is {special_kind(mode, path) or 'a folder'}, not a file."
            )
        return fd

    def _below_root(self, name: str) -> str:
        """Return `name` without its root: a root may itself lie below a folder like .docker."""
        for root in self.roots:
            prefix = f"{root}{os.sep}"
            if name.startswith(prefix):
                return name[len(prefix) :]
        return name

    def _refuse_outside(self, path: Path, text: str) -> None:
        if not self.is_within(path):
            raise Denied(
                f"{text!r} is outside the roots; start the server with --root for that folder."
            )

    def _refuse_secret(self, paths: Iterable[str], text: str) -> None:
        if not self.secrets and any(is_denied(self._below_root(path)) for path in paths):
            raise Denied(_secret_sentence(text))


def special_kind(mode: int, path: Path) -> str:
    """Return what kind of special file this is ("a device"), or an empty string."""
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device"
    text = str(path)
    if any(text == folder or text.startswith(folder + "/") for folder in _VIRTUAL_FOLDERS):
        return "part of the kernel's virtual files"
    return ""


def _secret_sentence(name: str) -> str:
    return (
        f"{name!r} holds secrets by its name and is not opened; "
        "only the user can allow it, with secrets = true in their own configuration."
    )


def _open_below(root: Path, parts: Sequence[str]) -> int:
    """Open root/parts with no link followed below the root, and no wait on a pipe."""
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        # Windows, unverified: the path was resolved by the caller, a swap after that is not seen.
        return os.open(root.joinpath(*parts), ANY_LINK)
    folder = os.open(root, ANY_LINK | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, READ_FOLDER_NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = deeper
        if not parts:
            return os.dup(folder)
        return os.open(parts[-1], READ_NO_LINK, dir_fd=folder)
    finally:
        os.close(folder)
