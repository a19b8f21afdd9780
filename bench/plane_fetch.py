"""Install the sources that are measured, and ripgrep, by package clients."""

from __future__ import annotations

import subprocess
from pathlib import Path


def fetch(folder: Path) -> tuple[list[Path], str | None]:
    """Install sources and ripgrep by package clients; return the trees that could be had."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = {
        "Django": "pip download -q --no-deps --no-binary :all: Django==3.2.25"
        " && tar xzf Django-*.tar.gz --no-same-owner && mv Django-*/ Django",
        "cpython": "mkdir -p apt/lists/partial apt/parts && for list in"
        " /etc/apt/sources.list.d/*.sources; do sed 's/^Types:.*/Types: deb-src/' $list"
        " > apt/parts/${list##*/}; done && O='-o Dir::Etc::sourcelist=/dev/null -o"
        " Dir::Etc::sourceparts='$PWD'/apt/parts -o Dir::State::lists='$PWD'/apt/lists' &&"
        " apt-get $O update && apt-get $O source --download-only python3.11;"
        " tar xzf python3.11_*.orig.tar.gz --no-same-owner && mv Python-*/ cpython",
        "linux": "apt-get download linux-source-6.1 && dpkg-deb -x linux-source-6.1_*.deb deb &&"
        " tar xJf deb/usr/src/linux-source-6.1.tar.xz --no-same-owner && rm -rf deb"
        " linux-source-6.1/.gitignore && mv linux-source-6.1 linux",
        "rg": "npm pack --silent @vscode/ripgrep-linux-x64 && tar xzf vscode-ripgrep-*.tgz"
        " && mv package rg",
    }
    for name, command in steps.items():
        if not (folder / name).is_dir():
            done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, check=False)
            if done.returncode:
                print(f"{name} cannot be had here: {done.stderr.decode()[-200:].strip()}")
    trees = [folder / name for name in ("Django", "cpython", "linux") if (folder / name).is_dir()]
    for tree in trees:
        if not (tree / ".git").is_dir():
            who = "git -c user.name=b -c user.email=b@b"
            subprocess.run(
                f"git init -q . && git add -A . && {who} commit -qm all",
                shell=True, cwd=tree, check=True,
            )  # fmt: skip
    rg = folder / "rg/bin/rg"
    return trees, str(rg) if rg.exists() else None
