"""Freshness: after any change of files or by git, the next look equals what git lists now.

The change matrix runs in processes of its own: which event of a batch comes first depends on
PYTHONHASHSEED. `python -m tests.corpus.store.test_freshness LOOKS` runs it at length.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.corpus import Corpus
from tests.corpus.conftest import Tree

FOLDERS = ("", "a/", "a/b/", "c/", "d/e/f/", "out/")


def differences(tree: Tree, corpus: Corpus) -> list[str]:
    """Refresh once and return the paths whose text is not what git lists and the disk holds."""
    corpus.refresh()
    listed = tree.git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    wanted = {name: (tree.folder / name).read_bytes() for name in listed if _is_file(tree, name)}
    seen = {name: corpus.document_bytes(name) for name in corpus.document_paths()}
    return [name for name in wanted.keys() | seen.keys() if wanted.get(name) != seen.get(name)]


def _is_file(tree: Tree, name: str) -> bool:
    return bool(name) and (tree.folder / name).is_file()


class Changes:
    """Random changes of a working tree, each a quiet point when it returns."""

    def __init__(self, tree: Tree, seed: int) -> None:
        self.tree, self.chance, self.count = tree, random.Random(seed), 0

    def make_one(self) -> str:
        """Make one change and return its name."""
        kinds: list[Callable[[], object]] = [
            self.edit_file, self.edit_file, self.edit_file, self.add_file, self.delete_file,
            self.move_file, self.move_tree, self.remake_tree, self.commit_all, self.switch_branch,
            self.merge_folder, self.stash_and_pop, self.stash_untracked, self.reset_hard,
            self.clone_over, self.remake_root, self.add_ignored, self.force_ignored,
            self.edit_rules, self.empty_folder, self.remove_and_write,
        ]  # fmt: skip
        change = self.chance.choice(kinds)
        change()
        return change.__name__

    def fresh_text(self) -> str:
        """Return a text that no file had before."""
        self.count += 1
        return f"text {self.count}\n" * self.chance.randint(1, 3)

    def files(self) -> list[str]:
        """Return what git tracks and the disk holds."""
        return [name for name in self.tree.git("ls-files").split("\n") if _is_file(self.tree, name)]

    def some_file(self) -> Path:
        """Return a tracked file, making one where there is none."""
        if not self.files():
            self.add_file()
            self.commit_all()
        return self.tree.folder / self.chance.choice(self.files())

    def edit_file(self) -> None:
        """Change a file that is tracked."""
        self.some_file().write_text(self.fresh_text())

    def edit_newest(self) -> None:
        """Change the file that came or changed last: it may be in a folder that has just come."""
        self.some_file()
        paths = [self.tree.folder / name for name in self.files()]
        max(paths, key=lambda path: path.stat().st_ctime_ns).write_text(self.fresh_text())

    def add_file(self) -> None:
        """Write a file that may be new."""
        name = f"{self.chance.choice(FOLDERS)}f{self.chance.randint(0, 9)}"
        self.tree.write({name: self.fresh_text()})

    def delete_file(self) -> None:
        """Delete a tracked file, and its folder where it is the last one."""
        path = self.some_file()
        path.unlink()
        if path.parent != self.tree.folder and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def move_file(self) -> None:
        """Rename a file."""
        path = self.some_file()
        path.rename(path.with_name(f"m{self.chance.randint(0, 9)}"))

    def top_folders(self) -> list[Path]:
        """Return the folders at the top, git's own left out."""
        return [
            path for path in self.tree.folder.iterdir() if path.is_dir() and path.name != ".git"
        ]

    def move_tree(self) -> None:
        """Rename a folder with all that is in it."""
        for path in self.top_folders()[:1]:
            path.rename(self.tree.folder / f"t{self.count}-{self.chance.randint(0, 99)}")

    def remake_tree(self) -> None:
        """Remove a folder and make it again with the same names."""
        for path in self.top_folders()[:1]:
            kept = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
            shutil.rmtree(path)
            self.tree.write({f"{path.name}/{name}": self.fresh_text() for name in kept})

    def commit_all(self) -> None:
        """Commit what there is."""
        self.tree.commit()

    def switch_branch(self) -> None:
        """Go to another branch, where other folders are."""
        self.commit_all()
        self.tree.git("checkout", "--quiet", self.chance.choice(("main", "other")))

    def merge_folder(self) -> None:
        """Merge a branch that brings a folder."""
        self.commit_all()
        here = self.tree.git("rev-parse", "HEAD")
        self.tree.git("checkout", "--quiet", "--detach")
        self.tree.write({f"merged{self.count}/deep/p": self.fresh_text()})
        side = self.tree.commit()
        self.tree.git("reset", "--quiet", "--hard", here)
        self.tree.git("merge", "--quiet", "--no-edit", side)

    def stash_and_pop(self) -> None:
        """Put changes aside and take them back."""
        self.edit_file()
        self.tree.git("stash", "--quiet")
        self.tree.git("stash", "pop", "--quiet")

    def stash_untracked(self) -> None:
        """Put changes aside, new files too, and leave them there."""
        self.add_file()
        self.tree.git("stash", "--quiet", "--include-untracked")
        self.tree.git("stash", "drop", "--quiet") if self.tree.git("stash", "list") else None

    def reset_hard(self) -> None:
        """Throw changes away."""
        self.tree.git("reset", "--quiet", "--hard")

    def clone_over(self) -> None:
        """Remove everything in the root, and put a clone in its place."""
        self.commit_all()
        aside = self.tree.folder.with_name("aside")
        subprocess.run(
            ["git", "clone", "--quiet", str(self.tree.folder), str(aside)],
            check=True, capture_output=True,
        )  # fmt: skip
        for path in self.tree.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in aside.iterdir():
            path.rename(self.tree.folder / path.name)
        aside.rmdir()
        self.make_branches()

    def remake_root(self) -> None:
        """Put a clone at the root's place: another inode under the same name."""
        self.commit_all()
        aside = self.tree.folder.with_name("aside")
        self.tree.folder.rename(aside)
        subprocess.run(
            ["git", "clone", "--quiet", str(aside), str(self.tree.folder)],
            check=True, capture_output=True,
        )  # fmt: skip
        shutil.rmtree(aside)
        self.make_branches()

    def make_branches(self) -> None:
        """Give a clone both branches, on one of them."""
        self.tree.git("branch", "--force", "keep")
        self.tree.git("checkout", "--quiet", "--detach")
        for branch in ("main", "other"):
            self.tree.git("branch", "--force", branch, "keep")
        self.tree.git("checkout", "--quiet", "main")

    def add_ignored(self) -> None:
        """Write files that the rules leave out."""
        self.tree.write({"x.o": self.fresh_text(), "a/y.o": self.fresh_text()})

    def force_ignored(self) -> None:
        """Track a file that the rules leave out, in a folder that they leave out."""
        name = self.chance.choice(("x.o", "ignored/z"))
        self.tree.write({name: self.fresh_text()})
        self.tree.git("add", "--force", name)

    def edit_rules(self) -> None:
        """Change what is ignored."""
        self.tree.write({".gitignore": self.chance.choice(("*.o\nignored/\n", "ignored/\n"))})

    def empty_folder(self) -> None:
        """Make folders with nothing in them."""
        (self.tree.folder / f"e{self.chance.randint(0, 5)}/g").mkdir(parents=True, exist_ok=True)

    def remove_and_write(self) -> None:
        """Remove a file and write it again."""
        path = self.some_file()
        path.unlink()
        path.write_text(self.fresh_text())


def look_after_changes(place: Path, looks: int, seed: int) -> list[str]:
    """Return what was stale in some looks, each behind one to three random changes."""
    folder = place / "work"
    folder.mkdir(parents=True)
    tree = Tree(folder)
    tree.git("init", "--quiet", "--initial-branch=main", ".")
    tree.write({f"{at}f{number}": "first\n" for at in FOLDERS for number in range(2)})
    tree.write({".gitignore": "*.o\nignored/\n"})
    tree.commit()
    tree.git("checkout", "--quiet", "-b", "other")
    tree.write({"only/other/f": "other\n", "a/f0": "other\n"})
    tree.commit()
    tree.git("checkout", "--quiet", "main")
    corpus, changes, wrong = (
        open_corpus.open_tree(folder, cache=place / "cache"), Changes(tree, seed), []
    )  # fmt: skip
    for look in range(looks):
        if look % 2:  # Only a watch that stands can miss something.
            for _ in range(3):
                corpus.refresh()
                time.sleep(0.01)
        done = [changes.make_one() for _ in range(changes.chance.choice((1, 1, 2, 3)))]
        for also in ("", "edit_newest", "edit_newest"):
            if also:
                changes.edit_newest()
            if stale := differences(tree, corpus):
                wrong.append(f"look {look}, after {', '.join(done)} {also}: {sorted(stale)[:3]}")
    corpus.close()
    return wrong


def run_matrix(hash_seed: int, looks: int) -> subprocess.CompletedProcess[str]:
    """Run the matrix in a process with a hash seed."""
    return subprocess.run(
        [sys.executable, "-m", "tests.corpus.store.test_freshness", str(looks), str(hash_seed)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("hash_seed", [0, 1, 3, 7])
def test_every_look_behind_random_changes_is_what_git_lists(hash_seed: int) -> None:
    done = run_matrix(hash_seed, 40)
    assert done.returncode == 0, done.stdout + done.stderr


def main(looks: int, seed: int) -> int:
    """Run the matrix and say what was stale."""
    with tempfile.TemporaryDirectory() as place:
        wrong = look_after_changes(Path(place), looks, seed)
    print(*wrong, f"{looks} looks, {len(wrong)} stale (seed {seed})", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
