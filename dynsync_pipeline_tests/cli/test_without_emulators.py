"""Without the extra `emulators` everything that syncs real systems works, and the commands that need it say so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

import dynsync_pipeline
from dynsync_pipeline.cli.emulating import LIBRARIES
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story

ROOT = Path(dynsync_pipeline.__file__).parent
WITHOUT = f"""
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {LIBRARIES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
COMMAND = "from dynsync_pipeline.cli import main; main()"


def run(code: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a fresh Python that cannot import the libraries of the extra, without any setting."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DYNSYNC_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["emulate", "demo", "dev"])
def test_a_command_that_needs_the_emulators_says_what_to_install(command: str, tmp_path: Path) -> None:
    done = run(COMMAND, tmp_path, command)
    assert done.returncode == 1
    sentence = " ".join(done.stderr.split())
    assert sentence == (
        "Error: The emulators are not installed: there is no faker. "
        "Run `pip install 'dynsync-pipeline[emulators]'`; syncing real systems needs none of it."
    )
    assert (done.stdout, list(tmp_path.iterdir())) == ("", [])


def test_all_that_syncs_real_systems_is_imported_without_the_extra(tmp_path: Path) -> None:
    files = [file.relative_to(ROOT) for file in ROOT.rglob("*.py") if file.stem != "__main__"]
    modules = [
        ".".join(["dynsync_pipeline", *file.with_suffix("").parts]).removesuffix(".__init__")
        for file in files
        if file.parts[0] != "emulators"
    ]
    done = run(f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)\n", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_libraries_looked_for_are_those_of_the_extra() -> None:
    """Else one could be absent, and the command would end in a traceback."""
    of_extra = [line for line in requires("dynsync-pipeline") or [] if line.endswith('extra == "emulators"')]
    distributions = packages_distributions()
    assert {distributions[library][0].lower() for library in LIBRARIES} == {
        re.split(r"[>=]", line)[0] for line in of_extra
    }
