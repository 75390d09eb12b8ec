"""`audit`, `whatif` and `adopt` with `--engine spark` find what DuckDB does, also after a kill, which leaves nothing.

Each question is killed first and then asked again: a Java costs more than what it is asked of so few rows.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.spark.both_engines import QUICK_JAVA
from dynsync_pipeline_tests.worlds.http import HttpWorld
from dynsync_pipeline_tests.worlds.kept import FEW, KeptWorld
from dynsync_pipeline_tests.worlds.memory import WITH_COLLISION

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy
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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    home = Path(shutil.copytree(world.settings.data_dir, tmp_path_factory.mktemp("home") / "data"))
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


def kept(home: Path) -> list[list[tuple[object, ...]]]:
    with duckdb.connect(home / "dynsync.duckdb", read_only=True) as connection:
        return [connection.execute(query).fetchall() for query in KEPT]


def left(home: Path) -> list[str]:
    """What a question has beside the working file and the state of the Parquet files."""
    beside = [
        *home.glob("spark/*"),
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
    wait_for(lambda: bool(list(home.glob("parquet/*results*/*-*/_SUCCESS"))) or running.poll() is not None)
    java = java_of(running.pid)
    os.kill(java if victim == "java" else running.pid, signal.SIGKILL)
    _, said = running.communicate(timeout=LONGEST_S)
    wait_for(lambda: not is_alive(java))
    assert running.returncode == (1 if victim == "java" else -signal.SIGKILL), said
    return said


def test_an_audit_on_spark_finds_keeps_and_hands_over_what_duckdb_does(home: Path, tmp_path: Path) -> None:
    """Also once one was killed with its process; what that left is gone with the next."""
    one, other = (Path(shutil.copytree(home, tmp_path / name)) for name in ("one", "other"))
    before = kept(other)
    killed(other, ["audit"], "dynsync", environment(other))
    assert kept(other) == before
    assert [name.partition("-")[0] for name in left(other)] != []
    of_duckdb, of_spark = asked(one, "audit"), asked(other, "audit", *ON_SPARK)
    assert json.loads(of_spark.stdout) == json.loads(of_duckdb.stdout), of_spark.stderr
    assert json.loads(of_spark.stdout)["n_missed"] == 3
    assert kept(other) == kept(one)
    assert (of_spark.returncode, of_spark.stderr, left(other)) == (1, "", [])


def test_whatif_on_spark_shows_what_duckdb_does_and_changes_nothing(home: Path, tmp_path: Path) -> None:
    """Also once the Java of one was killed, which says so and leaves nothing."""
    home = Path(shutil.copytree(home, tmp_path / "home"))
    before = kept(home)
    question = ("whatif", "--field-map", "other.csv")
    said = killed(home, question, "java", environment(home))
    assert "nothing was changed" in " ".join(said.split())
    assert (left(home), kept(home)) == ([], before)
    of_duckdb, of_spark = asked(home, *question), asked(home, *question, *ON_SPARK)
    assert of_spark.stdout == of_duckdb.stdout, of_spark.stderr
    found: list[dict[str, Any]] = json.loads(of_spark.stdout)
    assert [
        (row["record_type"], row["field"], row["outcome"], row["outcome_then"], row["rule_code"]) for row in found
    ] == [
        ("lead", "title", "marketo_wins", "dynamics_wins", "map_dynamics_wins"),
        ("contact", "phone", "dynamics_wins", "marketo_wins", "value_over_clear"),
        ("lead", "title", "marketo_wins", "dynamics_wins", "map_dynamics_wins"),
    ]
    assert (of_spark.returncode, left(home), kept(home)) == (0, [], before)


def test_without_java_a_sentence_says_so(home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(home, tmp_path / "home"))
    nowhere = {"PATH": "/usr/bin:/bin", "JAVA_HOME": "/nowhere", "COLUMNS": "400"}
    ended = subprocess.run(
        command("audit", *ON_SPARK),
        env=environment(home) | nowhere,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Spark's Java did not start. Install Java 17 or later" in " ".join(ended.stderr.split())
    assert left(home) == []


def test_adopt_on_spark_proposes_what_duckdb_does(make_world: Callable[..., HttpWorld]) -> None:
    """Killed before, it leaves no file, and nothing of it is left after the next one."""
    ids = [f"0000000{n}-0000-0000-0000-00000000abcd" for n in range(6)]
    contacts = [
        {"contactid": each, "lastname": f'Ö\'Neill "{n}"', "emailaddress1": f"P{n % 4}@example.com"}
        for n, each in enumerate(ids)
    ]
    people = [
        {"lastName": "ß", "email": f"p{n}@example.com", "crmId": f"{{{ids[4].upper()}}}" if n == 5 else None}
        for n in range(6)
    ]
    world = make_world()
    dataverse_seeding.seed(world.emulators.dataverse, [], contacts, [])
    definition = {"name": "crmId", "displayName": "CRM id", "dataType": "string"}
    world.answered(world.marketing.post("/rest/v1/leads/schema/fields.json", json={"input": [definition]}))
    marketo_seeding.seed(world.emulators.marketo, people)
    home = world.data_dir
    (world.folder / "spark-defaults.conf").write_text(QUICK)
    world.environment |= {
        "DYNSYNC_PARQUET_DIR": str(home / "parquet"),
        "SPARK_CONF_DIR": str(world.folder),
    } | QUICK_JAVA
    question = ("adopt", "--id-field", "crmId", "--out")
    home.mkdir()
    killed(home, [*question, str(home / "killed.csv")], "dynsync", world.environment_with())
    for name, options in (("duckdb", ()), ("spark", ON_SPARK)):
        running = world.start(*question, str(home / f"{name}.csv"), *options)
        _, said = running.communicate(timeout=LONGEST_S)
        assert running.returncode == 0, said
    proposed = (home / "spark.csv").read_text("utf-8-sig")
    assert proposed == (home / "duckdb.csv").read_text("utf-8-sig")
    assert [proposed.count(match) for match in ("id in crmId", "e-mail address of several records", "skip")] == [
        1,
        3,
        3,
    ]
    assert not (home / "killed.csv").exists()
    assert left(home) == []


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
    stat = Path(f"/proc/{process_id}/stat")
    return stat.exists() and ") Z " not in stat.read_text()
