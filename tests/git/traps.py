"""Repositories whose configuration names a program wherever git takes one, with a canary for each.

Every program is a script of its own outside the repository; it leaves its environment in a file
under the trap's name. A `Nest` is one repository with many traps, or with one that others hide.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

KEY = "canary-of-a-key"
HOOKS = (
    "applypatch-msg", "commit-msg", "fsmonitor-watchman", "post-applypatch", "post-checkout",
    "post-commit", "post-index-change", "post-merge", "post-receive", "post-rewrite",
    "post-update", "pre-applypatch", "pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push",
    "pre-rebase", "pre-receive", "prepare-commit-msg", "proc-receive", "push-to-checkout",
    "reference-transaction", "sendemail-validate", "update",
)  # fmt: skip
FILTERS = ("plain", "a=b", "Up.per.clean", "-c", "a b", "caf\u00e9")
COMMANDS = (
    "core.fsmonitor", "core.pager", "core.editor", "core.askPass", "core.sshCommand",
    "core.gitProxy", "core.alternateRefsCommand", "sequence.editor", "credential.helper",
    "credential.https://example.org.helper", "gpg.program", "gpg.ssh.program",
    "gpg.x509.program", "gpg.ssh.defaultKeyCommand", "diff.external", "diff.odd.command",
    "diff.text.textconv", "diff.guitool", "interactive.diffFilter", "merge.odd.driver",
    "merge.tool", "mergetool.odd.cmd", "difftool.odd.cmd", "pager.log", "pager.diff", "pager.show",
    "pager.blame", "pager.status", "pager.config", "pager.branch", "pager.tag",
    "alias.odd", "alias.log", "alias.status", "alias.cat-file", "trailer.sign.command",
    "trailer.sign.cmd", "tar.odd.command", "uploadpack.packObjectsHook", "receive.procReceiveRefs",
    "remote.side.uploadpack", "remote.side.receivepack", "remote.helper.proxy",
    "submodule.inner.update", "browser.odd.cmd", "man.odd.cmd", "guitool.odd.cmd",
    "instaweb.httpd", "imap.tunnel", "sendemail.toCmd", "sendemail.ccCmd", "sendemail.smtpServer",
    "maintenance.odd.command", "hook.odd.command", "gc.recentObjectsHook",
    "fetch.bundleURI", 
    "core.hooksPath",
)  # fmt: skip
SHELL_ONLY = {"alias.odd", "alias.log", "alias.status", "alias.cat-file", "submodule.inner.update",
              "credential.helper", "credential.https://example.org.helper"}  # fmt: skip
"""Settings whose program stands behind an exclamation mark."""


@dataclass
class Nest:
    """A repository and the folder in which its programs say that they ran."""

    path: Path
    ran: Path
    programs: Path
    traps: list[str] = field(default_factory=list)

    def git(self, *arguments: str, check: bool = True, stdin: bytes = b"") -> str:
        """Run plain git with the whole environment, as a careless program does."""
        way = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
               "EDITOR": "true", "PAGER": "cat", "PATH": way}  # fmt: skip
        done = subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *arguments],
            cwd=self.path, env=env, capture_output=True, input=stdin, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.decode("utf-8", "replace").strip()

    def program(self, trap: str, name: str = "", end: str = "exit 0") -> str:
        """Return a script that says that it ran, by its path."""
        self.traps.append(trap)
        plain = f"{len(self.traps)}-" + "".join(c if c.isalnum() else "-" for c in trap)
        script = self.programs / (name or plain)
        script.write_text(f"#!/bin/sh\nexport -p >'{self.ran}/{plain}'\n{end}\n")
        script.chmod(0o755)
        return str(script)

    def fired(self) -> list[str]:
        """Return the traps that ran."""
        return sorted(path.name for path in self.ran.iterdir())

    def clear(self) -> None:
        for path in self.ran.iterdir():
            path.unlink()

    def configure(self, text: str, name: str = "config") -> None:
        with open(self.path / ".git" / name, "a", encoding="utf-8") as file:
            file.write(text)

    def loose(self, oid: str) -> Path:
        return self.path / ".git/objects" / oid[:2] / oid[2:]


def make_nest(folder: Path) -> Nest:
    """Make a repository with two commits, a tag, and a change that is not committed."""
    nest = Nest(folder / "project", folder / "ran", folder / "programs")
    for path in (nest.path, nest.ran, nest.programs):
        path.mkdir(parents=True)
    nest.git("init", "-q", "-b", "main")
    text = "def one():\n    return two()\n\n\ndef two():\n    return 1\n"
    (nest.path / "a.py").write_text(text)
    for number in range(len(FILTERS) + 6):
        (nest.path / f"{number}.txt").write_text(f"one {number}\n")
    nest.git("add", "-A")
    nest.git("commit", "-q", "-m", "one\n\nSigned-off-by: Ada <ada@example.org>")
    nest.git("tag", "-m", "first", "v1.0")
    (nest.path / "a.py").write_text(text.replace("1", "2"))
    nest.git("commit", "-q", "-a", "-m", "two")
    return nest


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def set_settings(nest: Nest) -> None:
    """Name a program in every setting that takes one, filters and textconv by attributes too."""
    signed = nest.git("cat-file", "commit", "HEAD").replace(
        "\n\n",
        "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n xx\n -----END PGP SIGNATURE-----\n\n",
        1,
    )
    (nest.path.parent / "signed").write_text(signed + "\n")
    oid = nest.git("hash-object", "-w", "-t", "commit", str(nest.path.parent / "signed"))
    nest.git("update-ref", "refs/heads/main", oid)
    settings = [("log.showSignature", "true"), ("extensions.worktreeConfig", "true"),
                ("core.repositoryFormatVersion", "1"), ("core.worktree", str(nest.path)),
                ("mailmap.blob", "HEAD:a.py"), ("trailer.sign.key", "Signed-off-by"),
                ("remote.side.url", str(nest.path)), ("difftool.prompt", "false"),
                ("uploadpack.allowFilter", "true"), ("protocol.ext.allow", "always"),
                ("remote.helper.url", "x"), ("remote.helper.vcs", "odd")]  # fmt: skip
    for name, value in settings:
        nest.git("config", name, value)
    nest.program("remote.helper.vcs", "git-remote-odd")
    for name in COMMANDS:
        value = nest.program(name)
        if name == "core.hooksPath":
            value = str(nest.programs / "hooks")
            Path(value).mkdir()
            for hook in HOOKS:
                os.symlink(nest.program(f"hooksPath/{hook}"), Path(value, hook))
        nest.git("config", name, f"!{value}" if name in SHELL_ONLY else value)
    lines = ["*.py diff=text"]
    for number, name in enumerate(FILTERS):
        programs = "".join(
            f"\t{key} = {nest.program(f'filter {name} {key}', end='exec cat')}\n"
            for key in ("clean", "smudge")
        )
        nest.configure(f"[filter {quoted(name)}]\n{programs}")
        lines.append(f"{number}.txt filter={name}" if " " not in name else "# none")
    more = len(FILTERS)
    kinds = {"included": "include", "where": "includeIf", "worktree": "config.worktree"}
    for number, (name, kind) in enumerate(kinds.items()):
        text = f"[diff {quoted(name)}]\n\tcommand = {nest.program(f'{kind} diff')}\n"
        if kind == "config.worktree":
            nest.configure(text, kind)
        else:
            nest.configure(text, f"{name}.inc")
            where = "[include]" if kind == "include" else f'[includeIf "gitdir:{nest.path}/"]'
            nest.configure(f"{where}\n\tpath = {name}.inc\n")
        lines.append(f"{more + number}.txt diff={name}")
    lines += [f"{more + 3}.txt diff=odd merge=odd"]
    (nest.path / ".git/info/attributes").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (nest.path / ".gitattributes").write_text("\n".join(lines) + "\n", encoding="utf-8")
    change(nest)


def set_hooks(nest: Nest) -> None:
    """Put a program into every hook."""
    (nest.path / ".git/hooks").mkdir(exist_ok=True)
    for hook in HOOKS:
        place = nest.path / ".git/hooks" / hook
        place.unlink(missing_ok=True)
        os.symlink(nest.program(f"hooks/{hook}"), place)
    change(nest)


def set_process(nest: Nest) -> None:
    """Name a long-running filter, which ends git where it does not answer."""
    nest.configure(f"[filter {quoted('a=b')}]\n\tprocess = {nest.program('filter process')}\n")
    (nest.path / ".gitattributes").write_text("*.txt filter=a=b\n")
    change(nest)


def change(nest: Nest) -> None:
    for number in range(len(FILTERS) + 5):
        (nest.path / f"{number}.txt").write_text(f"two {number}\n")
    (nest.path / "new.txt").write_text("new\n")


def lose_objects(nest: Nest, form: str, name: str, trap: str) -> None:
    """Take away a blob and name a commit that never was; a remote offers to fetch them."""
    nest.loose(nest.git("rev-parse", "v1.0:a.py")).unlink()
    for place in ("heads/evil", "tags/v9.9", "remotes/origin/evil"):
        path = nest.path / ".git/refs" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1234567890" * 4 + "\n")
    nest.configure(
        f"[core]\n\trepositoryformatversion = 1\n[protocol {quoted('ext')}]\n\tallow = always\n"
        f"[protocol]\n\tallow = always\n{form}"
        f"[remote {quoted(name)}]\n\tpromisor = true\n\tpartialclonefilter = blob:none\n"
        "\tfetch = +refs/heads/*:refs/remotes/x/*\n" + trap
    )


def partial_clones() -> dict[str, Callable[[Nest], None]]:
    """Return ways to have git fetch what is missing by a program, each alone in a repository."""

    def by(
        name: str, trap: Callable[[Nest], str], extension: bool = True
    ) -> Callable[[Nest], None]:
        def lay(nest: Nest) -> None:
            form = f"[extensions]\n\tpartialClone = {name}\n" if extension else ""
            lose_objects(nest, form, name, trap(nest))

        return lay

    def ext(nest: Nest) -> str:
        return f"\turl = ext::{nest.program('ext')}\n"

    def vcs(nest: Nest) -> str:
        nest.program("vcs", "git-remote-odd")
        return "\turl = somewhere\n\tvcs = odd\n"

    def scheme(nest: Nest) -> str:
        nest.program("scheme", "git-remote-odd")
        return "\turl = odd://somewhere/x\n"

    def upload(nest: Nest) -> str:
        return f"\turl = {nest.path}\n\tuploadpack = {nest.program('uploadpack')}\n"

    def upload_file(nest: Nest) -> str:
        return f"\turl = file://{nest.path}\n\tuploadpack = {nest.program('uploadpack')}\n"

    def instead(nest: Nest) -> str:
        trap = f"ext::{nest.program('insteadOf')} "
        return f"\turl = https://127.0.0.1:9/x\n[url {quoted(trap)}]\n\tinsteadOf = https://\n"

    def ssh(nest: Nest) -> str:
        command = nest.program("core.sshCommand")
        return f"\turl = ssh://127.0.0.1:9/x\n[core]\n\tsshCommand = {command}\n"

    def proxy(nest: Nest) -> str:
        command = nest.program("core.gitProxy")
        return f"\turl = git://127.0.0.1:9/x\n[core]\n\tgitProxy = {command}\n"

    def included(nest: Nest) -> str:
        nest.configure(f'[remote "origin"]\n{ext(nest)}', "more")
        return "[include]\n\tpath = more\n"

    return {
        "ext": by("origin", ext), "ext-dotted": by("a.b", ext), "ext-spaced": by("x y", ext),
        "ext-promisor-only": by("origin", ext, extension=False), "vcs": by("origin", vcs),
        "scheme": by("origin", scheme), "uploadpack": by("origin", upload),
        "uploadpack-file": by("origin", upload_file), "insteadOf": by("origin", instead),
        "sshCommand": by("origin", ssh), "gitProxy": by("origin", proxy),
        "include": by("origin", included),
    }  # fmt: skip


NESTS: dict[str, Callable[[Nest], None]] = {
    "settings": set_settings,
    "hooks": set_hooks,
    "process": set_process,
    **partial_clones(),
}


CARELESS = (
    "status", "diff", "log -p --ext-diff", "diff --ext-diff --textconv HEAD~1", "blame a.py",
    "show --show-signature", "-c gpg.format=ssh commit -q -S --allow-empty -m x",
    "-c gpg.format=ssh -c user.signingKey=x commit -q -S --allow-empty -m x",
    "-c gpg.format=x509 commit -q -S --allow-empty -m x", "ls-remote ssh://127.0.0.1:9/x",
    "ls-remote git://127.0.0.1:9/x", "cat-file -p v1.0:a.py", "log -p --all", "odd",
    "cat-file -e 1234567890123456789012345678901234567890", "interpret-trailers a.py",
    "archive --format=odd HEAD", "fetch side", "fetch helper", "fetch origin", "push side HEAD:x",
    "difftool -y -t odd HEAD~1", "add -A", "commit -q", "commit -q -m three", "commit -q --amend",
    "checkout -q -b other", "rebase -i HEAD~1", "checkout -q -f HEAD~1", "tag -s x -m x",
)  # fmt: skip


def run_carelessly(nest: Nest) -> None:
    """Run plain git, as someone does who trusts the repository."""
    for line in CARELESS:
        nest.git(*line.split(), check=False)
    nest.git("credential", "fill", check=False, stdin=b"url=https://example.org\n\n")
