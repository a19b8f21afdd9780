"""Which document an import means, in the layouts that projects of each language have."""

from __future__ import annotations

import json
import time

import pytest

from rlm_mcp.corpus.code.imports import ImportResolver


def imports(files: dict[str, str]) -> ImportResolver:
    return ImportResolver(list(files), lambda path: files[path].encode())


def meant(files: dict[str, str], importer: str, text: str) -> list[str]:
    """Return the documents that an import means; each must have a word that the text contains."""
    known = imports(files)
    found = [path for path in files if known.resolves_to(importer, text, path)]
    for path in found:
        assert any(word in text for word in known.import_words(path)), (
            path,
            known.import_words(path),
        )
    return found


UI = "web/packages/ui"
WEB = {
    "web/package.json": '{"name": "root", "workspaces": ["packages/*"]}',
    f"{UI}/package.json": json.dumps(
        {
            "name": "@acme/ui",
            "main": "./src/index.ts",
            "exports": {
                ".": {"import": "./dist/index.mjs", "types": "./src/index.ts"},
                "./button": "./src/button/main.ts",
                "./icons/*": ["./src/icons/*.ts"],
            },
            "imports": {"#inner/*": "./src/inner/*.ts"},
        }
    ),
    f"{UI}/src/index.ts": "",
    f"{UI}/src/button/main.ts": "",
    f"{UI}/src/icons/star.ts": "",
    f"{UI}/src/inner/core.ts": "",
    "web/packages/old/package.json": '{"name": "old-lib", "main": "dist/index.js"}',
    "web/packages/old/src/index.js": "",
    "web/packages/old/src/parts/one.js": "",
    "web/app/package.json": '{"name": "app", "dependencies": {"lodash": "4"}}',
    "web/app/tsconfig.base.json": '{"compilerOptions": {"paths": {"~lib": ["./src/lib/entry.ts"]}'
    "}}",
    "web/app/tsconfig.json": '{ // with comments\n "compilerOptions": {"baseUrl": "./", /* and */'
    ' "paths": {"@app/*": ["src/*"], "~lib": ["src/lib/entry"],},},}',
    "web/app/src/main.ts": "",
    "web/app/src/util/fmt.tsx": "",
    "web/app/src/lib/entry.ts": "",
    "web/app/src/lodash/fp.js": "",
    "web/app/src/deep/index.jsx": "",
}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("@acme/ui", f"{UI}/src/index.ts"),
        ("@acme/ui/button", f"{UI}/src/button/main.ts"),
        ("@acme/ui/icons/star", f"{UI}/src/icons/star.ts"),
        ("old-lib", "web/packages/old/src/index.js"),
        ("old-lib/dist/parts/one.js", "web/packages/old/src/parts/one.js"),
        ("@app/util/fmt", "web/app/src/util/fmt.tsx"),
        ("~lib", "web/app/src/lib/entry.ts"),
        ("src/util/fmt", "web/app/src/util/fmt.tsx"),
        ("@app/deep", "web/app/src/deep/index.jsx"),
        ("./util/fmt.js", "web/app/src/util/fmt.tsx"),
        ("@other/ui", ""),
        ("@other/util/fmt", ""),
        ("lodash/fp", ""),
        ("react", ""),
    ],
)
def test_packages_workspaces_and_aliases_of_javascript(text: str, target: str) -> None:
    assert meant(WEB, "web/app/src/main.ts", text) == ([target] if target else [])


def test_a_package_knows_its_own_inner_names() -> None:
    assert meant(WEB, f"{UI}/src/index.ts", "#inner/core") == [f"{UI}/src/inner/core.ts"]
    assert meant(WEB, "web/app/src/main.ts", "#inner/core") == []


def test_a_tsconfig_takes_paths_from_the_one_it_extends() -> None:
    files = {
        **WEB,
        "web/app/tsconfig.json": '{"extends": "./tsconfig.base.json"}',
    }
    assert meant(files, "web/app/src/main.ts", "~lib") == ["web/app/src/lib/entry.ts"]
    circle = {**files, "web/app/tsconfig.base.json": '{"extends": "./tsconfig.json"}'}
    assert meant(circle, "web/app/src/main.ts", "~lib") == []


GO = {
    "go/go.mod": "module example.com/app\n\nreplace (\n"
    "\texample.com/lib v1.2.0 => ./third/lib\n)\n",
    "go/util/util.go": "",
    "go/util/util_test.go": "",
    "go/root.go": "",
    "go/third/lib/go.mod": "module example.com/renamed\n",
    "go/third/lib/strs/strs.go": "",
    "go/vendor/other.com/x/x.go": "",
    "tool/go.mod": 'module "example.com/tool"\n',
    "tool/util/util.go": "",
}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("example.com/app/util", "go/util/util.go"),
        ("example.com/app", "go/root.go"),
        ("example.com/lib/strs", "go/third/lib/strs/strs.go"),
        ("example.com/renamed/strs", "go/third/lib/strs/strs.go"),
        ("example.com/tool/util", "tool/util/util.go"),
        ("other.com/x", "go/vendor/other.com/x/x.go"),
        ("other.com/util", ""),
    ],
)
def test_modules_of_go(text: str, target: str) -> None:
    assert meant(GO, "go/cmd/main.go", text) == ([target] if target else [])


def test_without_a_go_mod_a_folder_that_fits_is_meant() -> None:
    files = {"src/example.com/app/util/util.go": "", "other/app/util/util.go": ""}
    assert meant(files, "src/main.go", "example.com/app/util") == [
        "src/example.com/app/util/util.go"
    ]


RUST = {
    "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\n',
    "crates/my-core/Cargo.toml": '[package]\nname = "my-core"\n',
    "crates/my-core/src/lib.rs": "",
    "crates/my-core/src/parse.rs": "",
    "crates/my-core/src/deep/mod.rs": "",
    "crates/my-core/src/deep/inner.rs": "",
    "crates/cli/Cargo.toml": '[package]\nname = "cli"\n'
    '[lib]\nname = "climb"\npath = "code/lib.rs"\n',
    "crates/cli/code/lib.rs": "",
    "crates/cli/code/parse.rs": "",
}


@pytest.mark.parametrize(
    ("importer", "text", "target"),
    [
        ("crates/cli/code/lib.rs", "my_core::parse::P", "crates/my-core/src/parse.rs"),
        ("crates/cli/code/lib.rs", "my_core::deep::inner", "crates/my-core/src/deep/inner.rs"),
        ("crates/cli/code/lib.rs", "my_core::run", "crates/my-core/src/lib.rs"),
        ("crates/cli/code/lib.rs", "my_core", "crates/my-core/src/lib.rs"),
        ("crates/cli/code/lib.rs", "other::parse::P", ""),
        ("crates/cli/code/lib.rs", "crate::parse", "crates/cli/code/parse.rs"),
        ("crates/my-core/src/lib.rs", "climb::parse::Z", "crates/cli/code/parse.rs"),
        ("crates/my-core/src/deep/inner.rs", "crate::parse::P", "crates/my-core/src/parse.rs"),
        ("crates/my-core/src/deep/inner.rs", "super::super::parse", "crates/my-core/src/parse.rs"),
        ("crates/my-core/src/deep/mod.rs", "inner", "crates/my-core/src/deep/inner.rs"),
        ("crates/my-core/src/lib.rs", "parse::P", "crates/my-core/src/parse.rs"),
    ],
)
def test_crates_of_rust(importer: str, text: str, target: str) -> None:
    assert meant(RUST, importer, text) == ([target] if target else [])


@pytest.mark.parametrize(
    ("importer", "text", "target"),
    [
        ("tests/test_core.py", "pkg.core", "src/pkg/core.py"),
        ("tests/test_core.py", "pkg", "src/pkg/__init__.py"),
        ("src/pkg/core.py", ".", "src/pkg/__init__.py"),
        ("ns/b/use.py", "ns.a.mod", "ns/a/mod.py"),
        ("tests/test_core.py", "core", ""),
    ],
)
def test_source_folders_and_namespace_packages_of_python(
    importer: str, text: str, target: str
) -> None:
    files = dict.fromkeys(["src/pkg/__init__.py", "src/pkg/core.py", "ns/a/mod.py"], "")
    known = imports(files)
    assert [path for path in files if known.resolves_to(importer, text, path)] == [target][
        : bool(target)
    ]


@pytest.mark.parametrize(
    ("importer", "text", "target"),
    [
        ("b/Use.java", "com.acme.a.Tool", "src/com/acme/a/Tool.java"),
        ("b/Use.java", "com.acme.a.Tool.run", "src/com/acme/a/Tool.java"),
        ("b/Use.java", "com.acme.c.Tool", ""),
    ],
)
def test_packages_of_java(importer: str, text: str, target: str) -> None:
    files = dict.fromkeys(["src/com/acme/a/Tool.java", "src/com/acme/b/Tool.java"], "")
    assert meant(files, importer, text) == ([target] if target else [])
    assert imports(files).resolves_to(importer, "com.acme.a", "src/com/acme/a/Tool.java")


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000, "[]", "3", '{"exports": {".": ' * 900, "/*" * 500_000, '"\\"' * 300_000,
        '{"name": 7, "exports": 7, "imports": [], "dependencies": [1]}', "\n" * 1_000_000,
        '{"compilerOptions": 3, "extends": [3, {}]}', "," * 500_000 + " " * 500_000,
        "a " * 500_000,
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_read_says_nothing_and_takes_no_time(text: str) -> None:
    names = ("package.json", "tsconfig.json", "go.mod", "Cargo.toml", "a/main.ts", "a/util.ts")
    begun = time.process_time()
    assert meant(dict.fromkeys(names, text), "a/main.ts", "./util") == ["a/util.ts"]
    assert time.process_time() - begun < 10  # a hang, not a timing
