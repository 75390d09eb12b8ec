"""The table of allowed imports of `docs/design.md`, held against every file of the package; and what importing may do.

Each file is parsed once; a test shows all offenders together.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dynsync_pipeline

ROOT = Path(dynsync_pipeline.__file__).parent
DESIGN = ROOT.parent / "docs" / "design.md"
PACKAGE = "dynsync_pipeline"
TABLE_HEADER = "| part | may import of the package |"
NOTHING = "nothing"
DAGSTER_ONLY_IN = {"defs", "definitions"}
Allowed = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A file of the package: its path from there, the part of the map it belongs to, what it imports, its docstring."""

    path: str
    part: str
    imports: frozenset[str]
    docstring: str | None


@cache
def modules(root: Path = ROOT) -> list[Module]:
    """Every file below a package's folder, parsed."""
    return [_parsed(file, root) for file in sorted(root.rglob("*.py"))]


def _parsed(file: Path, root: Path) -> Module:
    tree, path = ast.parse(file.read_text("utf-8")), file.relative_to(root)
    return Module(
        str(path), path.parts[0].removesuffix(".py"), frozenset(_imported(tree, path)), ast.get_docstring(tree)
    )


def _imported(tree: ast.Module, path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = [PACKAGE, *path.parent.parts]
            stem = [*here[: len(here) - node.level + 1]] if node.level else []
            names.update(".".join([*stem, *filter(None, [node.module]), alias.name]) for alias in node.names)
    return names


def parts_of(found: list[Module]) -> set[str]:
    """The parts of the map: the folders and the files at the top; the package itself is none."""
    return {module.part for module in found} - {"__init__"}


def other_parts_imported(module: Module, parts: set[str]) -> set[str]:
    """The parts that a file imports from, beside its own; the package's own names, such as its version, are no part."""
    dotted = {name.split(".")[1] for name in module.imports if name.startswith(f"{PACKAGE}.")}
    return (dotted & parts) - {module.part}


def allowed_imports(page: str) -> Allowed:
    """The rows of the table in the text of `docs/design.md`. Raises: AssertionError if there is not just one table."""
    lines = [re.sub(r"\s+", " ", line.strip()) for line in page.splitlines()]
    assert lines.count(TABLE_HEADER) == 1, f"docs/design.md has not one table {TABLE_HEADER!r}"
    allowed: Allowed = {}
    for line in lines[lines.index(TABLE_HEADER) + 2 :]:
        if not line.startswith("|"):
            break
        part, others = (cell.strip() for cell in line.strip("|").split("|"))
        (name,) = re.findall("`([^`]+)`", part)
        assert name not in allowed, f"{name} has two rows"
        allowed[name] = set(re.findall("`([^`]+)`", others))
        assert allowed[name] or others == NOTHING, f"{name}: {others!r} names no part; say {NOTHING!r}"
    return allowed


def faults_of_the_map(found: list[Module], allowed: Allowed) -> list[str]:
    """All that contradicts the table: parts and rows without each other, files that import what their part may not."""
    parts = parts_of(found)
    named = set(allowed).union(*allowed.values())
    faults = [f"{part} has no row in the table of docs/design.md" for part in sorted(parts - set(allowed))]
    faults += [f"the table names {part}, which the package does not have" for part in sorted(named - parts)]
    for module in found:
        forbidden = other_parts_imported(module, parts) - allowed.get(module.part, set())
        faults += [f"{module.path} may not import {name}" for name in sorted(forbidden)]
    return faults


def circle(found: list[Module]) -> list[str]:
    """Parts that import one another in a circle, the first one again at the end; empty if there are none."""
    parts = parts_of(found)
    graph: Allowed = {}
    for module in found:
        graph.setdefault(module.part, set()).update(other_parts_imported(module, parts))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_file_imports_only_what_the_table_of_the_design_allows_its_part() -> None:
    assert faults_of_the_map(modules(), allowed_imports(DESIGN.read_text("utf-8"))) == []


def test_no_parts_import_one_another_in_a_circle_and_only_defs_knows_dagster() -> None:
    assert circle(modules()) == []
    knows_dagster = {
        module.path: module.part
        for module in modules()
        if any(name.split(".")[0].startswith("dagster") for name in module.imports)
    }
    assert [path for path, part in knows_dagster.items() if part not in DAGSTER_ONLY_IN] == []
    assert knows_dagster


def test_every_module_says_what_belongs_in_it() -> None:
    assert [module.path for module in modules() if not module.docstring] == []
    assert len(modules()) > 30


# -- a check that cannot fail proves nothing ---------------------------------------------------------------------------


def package(folder: Path, **files: str) -> list[Module]:
    """The modules of a package made for one test; `reconcile__bad="…"` is its file `reconcile/bad.py`."""
    for name, text in files.items():
        file = folder.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return modules(folder)


HIDDEN = """
def f():
    from dynsync_pipeline.clients import transport
    from ..emulators import marketo
    from .. import errors, __version__
    import dagster
"""


def test_an_import_is_seen_inside_a_function_relative_or_by_the_package_s_name(tmp_path: Path) -> None:
    found = package(tmp_path, clients__a="", emulators__a="", errors="", reconcile__bad=HIDDEN)
    allowed: Allowed = {"clients": set(), "emulators": set(), "errors": set(), "reconcile": {"errors"}}
    assert faults_of_the_map(found, allowed) == [
        "reconcile/bad.py may not import clients",
        "reconcile/bad.py may not import emulators",
    ]
    assert "dagster" in found[-1].imports


def test_a_part_without_a_row_and_a_row_without_a_part_are_faults(tmp_path: Path) -> None:
    found = package(tmp_path, clients__a="", model="from dynsync_pipeline import clients")
    assert faults_of_the_map(found, {"model": {"clients", "wishes"}, "rooms": set()}) == [
        "clients has no row in the table of docs/design.md",
        "the table names rooms, which the package does not have",
        "the table names wishes, which the package does not have",
    ]


def test_parts_in_a_circle_are_named(tmp_path: Path) -> None:
    one = "from dynsync_pipeline.model import records"
    found = package(tmp_path, errors__a=one, model__records="import dynsync_pipeline.clients.rows", clients__rows="")
    assert circle(found) == []
    (tmp_path / "back").mkdir()
    back = package(tmp_path / "back", errors=one, model__records="def f():\n    from ..errors import E")
    assert sorted(set(circle(back))) == ["errors", "model"]


TABLE = f"""
Words.

{TABLE_HEADER}
|------|---------------------------|
| `errors` | nothing |
| `write_back`   | `errors`, `model` |

| `this` | is another table |
"""


def test_the_table_is_read_row_by_row_and_must_be_there_once() -> None:
    assert allowed_imports(TABLE) == {"errors": set(), "write_back": {"errors", "model"}}
    for wrong in ("", TABLE + TABLE, TABLE.replace("`write_back`  ", "`errors`"), TABLE.replace("nothing", "all")):
        with pytest.raises(AssertionError):
            allowed_imports(wrong)


# -- importing ---------------------------------------------------------------------------------------------------------


def run_python(code: str, folder: Path) -> None:
    """Run code in an empty folder and without settings; it must succeed, print nothing and leave nothing behind."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DYNSYNC_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(folder.iterdir()) == []


def test_importing_the_package_does_no_work(tmp_path: Path) -> None:
    """No dependency is loaded, nothing is read or written, nothing is printed."""
    run_python(
        "import sys; before = set(sys.modules)\n"
        "import dynsync_pipeline\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert dynsync_pipeline.__version__\n"
        "heavy = loaded & {'duckdb', 'dagster', 'httpx', 'pandas', 'pyarrow', 'pydantic', 'msal'}\n"
        "assert not heavy, heavy\n",
        tmp_path,
    )


@pytest.mark.parametrize("command", ["status", "errors", "explain"])
def test_a_command_that_looks_loads_nothing_that_reads_or_writes(command: str, tmp_path: Path) -> None:
    """A watchdog runs `dynsync status` every minute: Arrow and Prometheus alone took a quarter of it."""
    run_python(
        f"import sys, dynsync_pipeline.cli.{command}\n"
        "heavy = {'asyncio', 'dagster', 'httpx', 'msal', 'numpy', 'pandas', 'prometheus_client', 'pyarrow', 'sqlglot'}\n"
        "heavy = (heavy | {'pydantic_settings', 'ssl', 'unittest'}) & set(sys.modules)\n"
        "assert not heavy, heavy\n",
        tmp_path,
    )


def test_a_cycle_that_reads_no_row_loads_no_arrow_and_none_loads_pandas(tmp_path: Path) -> None:
    """Each would take a tenth of one without changes. The audit alone names pandas, for whoever looks; Arrow loads it for a list
    of values.
    """
    assert [module.path for module in modules() if "pandas" in module.imports] == ["defs/audit.py"]
    run_python(
        "import sys, dynsync_pipeline.definitions; from dynsync_pipeline.clients.rows import rows_table\n"
        "heavy = {'cryptography', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert rows_table(['a', 'b'], []).shape == (0, 2)\n"
        "assert 'pandas' not in sys.modules\n"
        "rows_table(['a', 'b'], [{'a': 'x'}])\n"
        "assert 'pandas' in sys.modules, 'and so this test can go'\n",
        tmp_path,
    )


def test_python_hardly_collects_while_a_run_imports_us(tmp_path: Path) -> None:
    """It would do so two hundred times, and look at everything that Dagster has loaded, for a twentieth of a quiet run."""
    run_python(
        "import dagster, gc; n = lambda: sum(each['collections'] for each in gc.get_stats())\n"
        "before = n(); import dynsync_pipeline.definitions; assert n() - before < 20, n() - before\n",
        tmp_path,
    )


def test_a_command_that_looks_never_searches_what_it_imported(tmp_path: Path) -> None:
    """Neither while it imports nor when it ends, which together would be a fifth of it."""
    run_python(
        "import gc, os\n"
        "def told(phase, _):\n"
        "    if phase == 'start' and len(gc.get_objects()) > 20_000: os.write(2, b'everything is looked at')\n"
        "gc.callbacks.append(told)\n"
        "from dynsync_pipeline.cli import _start_lightly; _start_lightly()\n"
        "import dynsync_pipeline.cli.status\n"
        "assert len(gc.get_objects()) > 40_000\n",
        tmp_path,
    )


def test_importing_every_module_starts_nothing(tmp_path: Path) -> None:
    """No thread, no file, no output, no need for a setting: work begins when somebody calls a function."""
    names = [
        ".".join([PACKAGE, *Path(module.path).with_suffix("").parts]).removesuffix(".__init__")
        for module in modules()
        if module.part != "__main__"
    ]
    run_python(
        "import importlib, threading\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n",
        tmp_path,
    )
