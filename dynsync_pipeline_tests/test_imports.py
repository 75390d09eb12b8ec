"""The table of allowed imports in the design (section 4), held against every file of the package."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dynsync_pipeline

ROOT = Path(dynsync_pipeline.__file__).parent
PACKAGE = "dynsync_pipeline"
BASE = {"settings", "errors", "model"}
STEPS = {"extract", "reconcile", "write_back", "publish"}
EVERYTHING = {*BASE, *STEPS, "look", "clients", "warehouse", "cycle", "emulators", "defs"}
# What each part may import of the package, beside itself and the package's own version.
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "settings": {"errors", "model"},
    "errors": set(),
    "model": {"errors"},
    "clients": BASE,
    "warehouse": BASE,
    "reconcile": {"model", "errors"},
    "extract": {*BASE, "clients", "warehouse"},
    "write_back": {*BASE, "clients", "warehouse"},
    "publish": {*BASE, "warehouse"},
    "look": {"model", "errors", "warehouse"},
    "cycle": {*BASE, *STEPS, "warehouse"},
    "emulators": set(),
    "defs": EVERYTHING - {"emulators"},
    "definitions": EVERYTHING - {"emulators"},
    "cli": EVERYTHING,
    "__main__": {"cli"},
}
DAGSTER_ONLY_IN = {"defs", "definitions"}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(file: Path) -> str:
    """The part of the map a file belongs to: its folder, or its own name at the top."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Dotted names that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # relative: resolve against the file's package
                here = [PACKAGE, *file.relative_to(ROOT).parent.parts]
                stem = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])
            else:
                stem = node.module or ""
            names.update(f"{stem}.{alias.name}" for alias in node.names)
    return names


def parts_imported(file: Path) -> set[str]:
    dotted = {name.split(".")[1] for name in imported(file) if name.startswith(f"{PACKAGE}.")}
    return {name for name in dotted if (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists()}


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 30


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_a_file_imports_only_what_its_part_may(file: Path) -> None:
    part = part_of(file)
    assert part in ALLOWED, f"{part} is not on the map of the design, section 4"
    forbidden = parts_imported(file) - ALLOWED[part] - {part}
    # The cycle hands its clients to the steps, and is the one place that makes them.
    if part == "cycle":
        forbidden -= {"clients"}
    assert not forbidden, f"{part} may not import {', '.join(sorted(forbidden))}"


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_only_defs_and_definitions_import_dagster(file: Path) -> None:
    uses = {name for name in imported(file) if name.split(".")[0].startswith("dagster")}
    assert not uses or part_of(file) in DAGSTER_ONLY_IN


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_every_module_says_what_belongs_in_it(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text("utf-8")))


def test_the_check_sees_a_forbidden_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that cannot fail proves nothing: hidden in a function, or relative, an import is still found."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for name in ("clients", "emulators", "reconcile"):
        (tmp_path / name).mkdir()
    bad = tmp_path / "reconcile" / "bad.py"
    bad.write_text(
        "def f():\n    from dynsync_pipeline.clients import transport\n    from ..emulators import marketo\n    import dagster\n"
    )
    assert parts_imported(bad) == {"clients", "emulators"}
    assert "dagster" in imported(bad)


def test_importing_the_package_does_no_work(tmp_path: Path) -> None:
    """No dependency is loaded, nothing is read or written, nothing is printed."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import dynsync_pipeline\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert dynsync_pipeline.__version__\n"
        "heavy = loaded & {'duckdb', 'dagster', 'httpx', 'pandas', 'pyarrow', 'pydantic', 'msal'}\n"
        "assert not heavy, heavy\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DYNSYNC_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_importing_every_module_starts_nothing(tmp_path: Path) -> None:
    """No thread, no file, no output, no need for a setting: work begins when somebody calls a function."""
    modules = [
        ".".join([PACKAGE, *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        for file in FILES
        if file.stem != "__main__"
    ]
    code = (
        "import importlib, threading\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DYNSYNC_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
