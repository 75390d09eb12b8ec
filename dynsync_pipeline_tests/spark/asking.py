"""A data folder to ask questions of, by the command as users run it; and what a question leaves, killed or not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from glob import glob
from pathlib import Path

import duckdb

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline_tests.spark.both_engines import QUICK_JAVA
from dynsync_pipeline_tests.worlds.kept import FEW, KeptWorld
from dynsync_pipeline_tests.worlds.memory import WITH_COLLISION

LONGEST_S = 600
ON_SPARK = ("--engine", "spark", "--master", "local[1]")
# Of so few rows, compiling takes longer than the rows themselves.
QUICK = "spark.sql.codegen.wholeStage false\nspark.sql.adaptive.enabled false\n"
KEPT = (
    "select code, record_type, dynamics_id, person_id, field from ledger.audit_findings order by all",
    "select * from inbox.touched order by all",
    "select record_type, field, collision, forbids from reconcile.fields order by all",
    "select * from state.dynamics_edits order by all",
    "select * from state.marketo_edits order by all",
)


def make_home(folder: Path) -> Path:
    """A data folder with a dozen links, of which two differ untold, and a link to nobody.

    Two collided, of which one has a title that waits to be reviewed. Beside it stands another field map, `other.csv`.
    """
    world = KeptWorld()
    people = [
        world.link(RecordType.CONTACT if n % 2 else RecordType.LEAD, f"r{n}", title="A", phone="1") for n in range(12)
    ]
    world.settled()
    for kind, n in ((RecordType.LEAD, 0), (RecordType.CONTACT, 1)):
        world.dynamics.put(kind, f"r{n}", jobtitle="it's D", telephone1=None)
        world.marketo.put(people[n], title='M "🦊"', phone="2")
    world.settled()
    with world.open() as warehouse, warehouse.transaction() as connection:
        connection.execute("update mirror.marketo_people set title = null, phone = 'A' where dynamics_lead_id = 'r4'")
        connection.execute("update mirror.marketo_people set title = 'it''s 🦊' where dynamics_contact_id = 'r5'")
        connection.execute("update mirror.marketo_people set title = 'M' where dynamics_lead_id = 'r6'")
        connection.execute("update mirror.dynamics_leads set jobtitle = 'D' where leadid = 'r6'")
        connection.execute(
            "insert into state.standing_differences values (?, 'title', 'D', 'M', 'in_review', now()::timestamp)",
            [people[6]],
        )
        connection.execute(
            "insert into state.links (person_id, record_type, dynamics_id, linked_at) values (77, 'lead', 'gone', now())"
        )
    home = Path(shutil.copytree(world.settings.data_dir, folder / "data"))
    rules = {"title": "dynamics", "phone": "never_clear"}
    lines = [f"{kind},{line},{rules.get(line.partition(',')[0], '')}" for kind in ("contact", "lead") for line in FEW]
    account = "account,company,name,text,to_marketo,true,"
    (home / "tmp").mkdir()
    (home / "spark-defaults.conf").write_text(QUICK)
    (home / "other.csv").write_text("\n".join((WITH_COLLISION.rstrip("\n"), account, *lines, "")), "utf-8")
    return home


def command(*arguments: str) -> list[str]:
    code = "import sys; sys.argv[0] = 'dynsync'; from dynsync_pipeline.cli import main; main()"
    return [sys.executable, "-c", code, *arguments]


def environment(home: Path) -> dict[str, str]:
    folders = {
        "DYNSYNC_DATA_DIR": home,
        "DYNSYNC_PARQUET_DIR": home / "parquet",
        "SPARK_CONF_DIR": home,
        "TMPDIR": home / "tmp",
    }
    return {**os.environ, **QUICK_JAVA, **{name: str(folder) for name, folder in folders.items()}}


def asked(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, "--json"), env=environment(home), cwd=home, capture_output=True, text=True, check=False
    )


def asked_beside_a_cycle(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `asked`, while a cycle holds its lock from Spark's first table until some time after its last, the findings."""

    def stored(table: str) -> set[str]:
        return set(found(home, f"parquet/*results*/{table}-*/_SUCCESS"))

    asking, pipe, of_others = command(*arguments, "--json"), subprocess.PIPE, stored("*")
    with subprocess.Popen(asking, env=environment(home), cwd=home, stdout=pipe, stderr=pipe, text=True) as running:
        wait_for(lambda: bool(stored("*") - of_others) or running.poll() is not None)
        with CycleLock(home / "cycle.lock"):
            wait_for(lambda: bool(stored("audit_findings") - of_others) or running.poll() is not None)
            time.sleep(3)
        out, errors = running.communicate(timeout=LONGEST_S)
    return subprocess.CompletedProcess(running.args, running.returncode, out, errors)


def found(folder: Path, pattern: str) -> list[str]:
    """As `Path.glob`, which fails where another process removes a folder while it looks."""
    return glob(str(folder / pattern), include_hidden=True)  # noqa: PTH207


def kept(home: Path) -> list[list[tuple[object, ...]]]:
    with duckdb.connect(home / "dynsync.duckdb", read_only=True) as connection:
        return [connection.execute(query).fetchall() for query in KEPT]


def left(home: Path) -> list[str]:
    """What a question has beside the working file and the state of the Parquet files."""
    beside = [
        *home.glob("*on-spark-*"),
        *home.glob("parquet/*results*"),
        *home.glob("*warehouse*"),
        *home.glob("*metastore*"),
    ]
    return sorted(str(each.relative_to(home)) for each in [*beside, *home.glob("tmp/*")])


def killed(home: Path, question: Sequence[str], victim: str, environment: Mapping[str, str]) -> str:
    """Kill this question, or its Java, once Spark has stored the first table; returns what was said. No Java is left."""
    running = subprocess.Popen(
        command(*question, *ON_SPARK),
        env=environment,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: bool(found(home, "parquet/*results*/*-*/_SUCCESS")) or running.poll() is not None)
    java = java_of(running.pid)
    assert open_to_others(home) == []
    os.kill(java if victim == "java" else running.pid, signal.SIGKILL)
    _, said = running.communicate(timeout=LONGEST_S)
    wait_for(lambda: not is_alive(java))
    assert running.returncode == (1 if victim == "java" else -signal.SIGKILL), said
    return said


def open_to_others(home: Path) -> list[str]:
    """What a question made so far that others than its owner may read, or look into."""
    made = [file for folder in (*home.glob("on-spark-*"), *home.glob("parquet/*results*")) for file in below(folder)]
    assert made
    return [str(file) for file in made if mode(file) & 0o077]


def below(folder: Path) -> list[Path]:
    """All files and folders in it, of which others may remove some meanwhile."""
    return [Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files)]


def mode(file: Path) -> int:
    """Of a file that may be gone by now, 0."""
    try:
        return file.stat().st_mode
    except FileNotFoundError:
        return 0


def content(file: Path) -> bytes:
    """Of a file that may be gone by now, and of a folder, nothing."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return b""


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + LONGEST_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def java_of(process_id: int) -> int:
    """The Java that this process started."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return next(int(child) for child in children if "java" in Path(f"/proc/{child}/cmdline").read_text())


def is_alive(process_id: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second one between opening and reading it
        return False
