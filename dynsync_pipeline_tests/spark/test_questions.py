"""`audit`, `whatif` and `adopt` with `--engine spark` find what DuckDB does, also after a kill, which leaves nothing.

Each question is killed first and then asked again: a Java costs more than what it is asked of so few rows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline_tests.spark.asking import (
    LONGEST_S,
    ON_SPARK,
    QUICK,
    asked,
    asked_beside_a_cycle,
    command,
    environment,
    kept,
    killed,
    left,
)
from dynsync_pipeline_tests.spark.both_engines import QUICK_JAVA
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy


def test_an_audit_on_spark_finds_keeps_and_hands_over_what_duckdb_does(home: Path, tmp_path: Path) -> None:
    """Also once one was killed with its process, whose remains go with the next, and where a cycle runs as it ends."""
    one, other = (Path(shutil.copytree(home, tmp_path / name)) for name in ("one", "other"))
    before = kept(other)
    killed(other, ["audit"], "dynsync", environment(other))
    assert kept(other) == before
    assert [name.partition("-")[0] for name in left(other)] == ["on", "parquet/dynsync"]
    of_duckdb, of_spark = asked(one, "audit"), asked_beside_a_cycle(other, "audit", *ON_SPARK)
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
    said = " ".join(ended.stderr.split())
    assert "Spark's Java did not start, which JAVA_HOME names as /nowhere. Install Java 17 or later" in said
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
