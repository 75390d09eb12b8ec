"""`dynsync audit` tells what cycles missed, hands it to the next one, and says what Spark needs where that is asked for."""

from __future__ import annotations

import json
import sys

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.worlds.kept import KeptWorld


@pytest.fixture
def world() -> KeptWorld:
    """A linked person whose title differs, told by no feed."""
    world = KeptWorld()
    world.link(RecordType.CONTACT, "c", title="A")
    world.settled()
    with world.open() as warehouse, warehouse.transaction() as connection:
        connection.execute("update mirror.marketo_people set title = 'B'")
    return world


def data_of(world: KeptWorld) -> dict[str, str]:
    return {"DYNSYNC_DATA_DIR": str(world.settings.data_dir)}


def test_what_was_missed_is_told_once_and_goes_to_the_next_cycle(world: KeptWorld, run: Run) -> None:
    ran = run("audit", "--json", environment=data_of(world))
    assert ran.code == 1
    found = json.loads(ran.out)
    assert (found["n_links"], found["n_missed"], found["n_damaged"]) == (1, 1, 0)
    assert found["kinds"][0][1:] == ["contact", "title", 1]
    assert world.rows("select count(*) from inbox.touched where person_id is not null") == [(1,)]
    again = run("audit", environment=data_of(world))
    assert (again.code, "nothing was found" in again.out) == (0, True)


def test_spark_says_what_it_needs(world: KeptWorld, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read: the extra, a folder of Parquet files, and a master that it knows and that is there."""
    monkeypatch.setitem(sys.modules, "pyspark", None)
    ran = run("audit", "--engine", "spark", environment=data_of(world))
    assert ran.code == 1
    assert "pip install 'dynsync-pipeline[spark]'; it needs Java 17" in " ".join(ran.err.split())
    monkeypatch.setitem(sys.modules, "pyspark", pytest)
    for options, said in (
        (["--engine", "spark"], "DYNSYNC_PARQUET_DIR names no folder"),
        (["--engine", "spark", "--master", "host:7077"], "host:7077 is no Spark master. Say --master"),
        (["--master", "local"], "--master is for --engine spark"),
        (["--engine", "spark", "--master", "spark://a:1,b"], "spark://a:1,b is no Spark master."),
    ):
        ran = run("audit", *options, environment=data_of(world))
        assert ran.code == 2, options
        assert said in " ".join(ran.err.replace("│", "").split())
    for address, said in (
        ("nobody.invalid:7077", "nobody knows the name nobody.invalid"),
        (f"{'a' * 64}.example:7077", "nobody knows the name"),
        ("127.0.0.1:9", "port 9 of 127.0.0.1 cannot be reached (Connection refused)"),
        ("127.0.0.1:9,[::1]:99999", "port 9 of 127.0.0.1 cannot be reached (Connection refused)"),
    ):
        ran = run("audit", "--engine", "spark", "--master", f"spark://{address}", environment=data_of(world))
        assert ran.code == 1, address
        assert f"There is no Spark master at spark://{address}: {said}" in " ".join(ran.err.split())
    assert world.rows("select count(*) from ledger.audit_findings") == [(0,)]
