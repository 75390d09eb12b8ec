"""`dynsync audit --engine spark` finds and keeps what DuckDB does; killed anywhere, it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.kept import KeptWorld

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy
KEPT = (
    "select code, record_type, dynamics_id, person_id, field from ledger.audit_findings order by all",
    "select * from inbox.touched order by all",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a dozen links, of which two differ untold, and a link to nobody."""
    world = KeptWorld()
    for n in range(12):
        world.link(RecordType.CONTACT if n % 2 else RecordType.LEAD, f"r{n}", title="A", phone="1")
    world.settled()
    with world.open() as warehouse, warehouse.transaction() as connection:
        connection.execute("update mirror.marketo_people set title = null, phone = 'A' where dynamics_lead_id = 'r4'")
        connection.execute("update mirror.marketo_people set title = 'it''s 🦊' where dynamics_contact_id = 'r5'")
        connection.execute(
            "insert into state.links (person_id, record_type, dynamics_id, linked_at) values (77, 'lead', 'gone', now())"
        )
    return Path(shutil.copytree(world.settings.data_dir, tmp_path_factory.mktemp("home") / "data"))


def command(home: Path, *options: str) -> list[str]:
    code = "import sys; sys.argv[0] = 'dynsync'; from dynsync_pipeline.cli import main; main()"
    return [sys.executable, "-c", code, "audit", *options]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DYNSYNC_DATA_DIR": str(home), "DYNSYNC_PARQUET_DIR": str(home / "parquet")}


def audited(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(home, "--json", *options), env=environment(home), cwd=home, capture_output=True, text=True, check=False
    )


def kept(home: Path) -> list[list[tuple[object, ...]]]:
    with duckdb.connect(home / "dynsync.duckdb", read_only=True) as connection:
        return [connection.execute(query).fetchall() for query in KEPT]


def left(home: Path) -> list[str]:
    """What Spark has in the data folder, and what it was bringing back."""
    return sorted(
        str(each.relative_to(home)) for pattern in ("spark/*", "parquet/*results*") for each in home.glob(pattern)
    )


def test_spark_finds_keeps_and_hands_over_what_duckdb_does(home: Path, tmp_path: Path) -> None:
    one, other = (Path(shutil.copytree(home, tmp_path / name)) for name in ("one", "other"))
    of_duckdb, of_spark = audited(one), audited(other, "--engine", "spark", "--master", "local[1]")
    assert json.loads(of_spark.stdout) == json.loads(of_duckdb.stdout), of_spark.stderr
    assert json.loads(of_spark.stdout)["n_missed"] == 3
    assert kept(other) == kept(one)
    assert (of_spark.returncode, left(other)) == (1, [])


@pytest.mark.parametrize("victim", ["java", "dynsync"])
def test_killed_in_the_middle_it_changes_nothing_and_the_next_one_finds_nothing_of_it(
    home: Path, tmp_path: Path, victim: str
) -> None:
    home = Path(shutil.copytree(home, tmp_path / "home"))
    before = kept(home)
    options = ("--engine", "spark", "--master", "local[1]")
    running = subprocess.Popen(
        command(home, *options),
        env=environment(home),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: bool(list(home.glob("spark/*/blockmgr-*"))))
    java = java_of(running.pid)
    os.kill(java if victim == "java" else running.pid, signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    wait_for(lambda: not is_alive(java))
    assert kept(home) == before
    if victim == "java":
        assert running.returncode == 1
        assert "nothing was changed" in " ".join(said.split())
        assert left(home) == []
    else:
        audited(home, *options)
        assert left(home) == []


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def java_of(process_id: int) -> int:
    """The Java that this process started."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return next(int(child) for child in children if "java" in Path(f"/proc/{child}/cmdline").read_text())


def is_alive(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat")
    return stat.exists() and ") Z " not in stat.read_text()
