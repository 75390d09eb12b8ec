"""Two pairs over HTTP, by the command line: each syncs by itself, and no command for one looks into the other's folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.settings import PREFIX
from dynsync_pipeline_tests.pairs.folders import write_pair
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.processes import command

pytestmark = story

N_CONTACTS = {"acme": 3, "bolt": 5}
BARE = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two pairs of emulators, `acme` and `bolt`, and one whose secret is wrong, `cord`."""
    folder = tmp_path_factory.mktemp("installation")
    (folder / ".env").write_text("DYNSYNC_PAIRS_DIR=pairs\n")
    with ExitStack() as open_emulators:
        for name, n in N_CONTACTS.items():
            emulators = Emulators(folder / "systems" / name, n_contacts=n, seed=n, time_scale=6000)
            open_emulators.enter_context(emulators)
            write_pair(folder / "pairs" / name, emulators)
        write_pair(
            folder / "pairs" / "cord", emulators, DYNSYNC_MARKETO_CLIENT_SECRET="wr0ng", DYNSYNC_RETRY_LIMIT_S="0"
        )
        yield folder


def run(installation: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command(arguments, BARE | environment, installation)


def test_each_pair_syncs_by_itself_and_what_one_has_wrong_stops_no_other(installation: Path) -> None:
    assert "none was named" in run(installation, "sync").stderr
    first = run(installation, "pairs", "--json")
    assert first.returncode == 1
    states = {row["pair"]: (row["state"], row["outcome"]) for row in json.loads(first.stdout)}
    assert states == {"acme": ("due", None), "bolt": ("cannot run", None), "cord": ("cannot run", None)}, "one Marketo"

    acme, bolt = (run(installation, "sync", "--json", "--pair", name) for name in N_CONTACTS)
    assert (acme.returncode, bolt.returncode) == (0, 0), acme.stderr + bolt.stderr
    for name, n in N_CONTACTS.items():
        with duckdb.connect(installation / "pairs" / name / "data" / "snapshot.duckdb", read_only=True) as snapshot:
            assert snapshot.execute("select count(*) from people").fetchall() == [(n,)]
    wrong = run(installation, "sync", DYNSYNC_PAIR="cord")
    assert (wrong.returncode, "wr0ng" in wrong.stderr) == (1, False)
    assert "Error: pair cord: " in wrong.stderr

    assert run(installation, "sync", "--pair", "acme").returncode == 0
    told = {row["pair"]: row for row in json.loads(run(installation, "pairs", "--json").stdout)}
    assert {name: (row["state"], row["outcome"]) for name, row in told.items()} == {
        "acme": ("waiting", "quiet"),
        "bolt": ("waiting", "done"),
        "cord": ("cannot run", None),
    }
    assert "that of pair bolt, too" in told["cord"]["why"]

    late = run(installation, "status", "--all", "--json", "--fail-if-older-than", "1h")
    assert (late.returncode, late.stderr.strip()) == (1, "No recent success: cord.")
    rows = {row["pair"]: row for row in json.loads(late.stdout)}
    assert [rows[name]["status"] for name in N_CONTACTS] == ["succeeded", "succeeded"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: apt-get install strace")
def test_a_command_for_one_pair_opens_nothing_of_another(installation: Path) -> None:
    """Traced from outside: every file that the process or a thread of it names to the kernel."""

    def opened(*arguments: str) -> str:
        trace = installation / "trace"
        dynsync = str(Path(sys.executable).with_name("dynsync"))
        options = ["-f", "-qq", "-o", str(trace), "-e", "trace=%file,getdents64"]
        subprocess.run(
            ["strace", *options, dynsync, *arguments], cwd=installation, env=BARE, capture_output=True, check=False
        )
        return trace.read_text("utf-8", "replace")

    seen = opened("sync", "--pair", "acme")
    assert "pairs/acme/data/dynsync.duckdb" in seen
    assert "pairs/bolt" not in seen
    assert "pairs/cord" not in seen
    assert "pairs/bolt" in opened("pairs"), "the trace shows what it would have to show"
