"""The snapshot as outsiders meet it: documented, read-only, whole at every moment, whatever its readers do."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import time

import duckdb
import pytest

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = story

# The tables and columns that analysts rely on (the contract); columns of the field map come on top.
MUST_HAVE = {
    "people": "person_id_marketo record_type contact_id_dynamics lead_id_dynamics account_id_dynamics "
    "is_deleted_in_dynamics firstName lastName email title",
    "accounts": "accountid name modified_at",
    "contacts": "contactid firstname jobtitle modified_at",
    "leads": "leadid firstname jobtitle modified_at",
    "changes": "cycle_id direction person_id_marketo field old_value new_value rule",
    "collisions": "cycle_id person_id_marketo record_type field base_value dynamics_value marketo_value winner rule",
    "sync_errors": "person_id_marketo object operation direction code message attempts state",
    "cycles": "cycle_id started_at ended_at status n_calls_dynamics n_calls_marketo",
}
# Reads the snapshot until it is told to stop, each time with a new connection, and says what went wrong.
READER = """
import json, sys, duckdb
path, n_reads, faults, seen = sys.argv[1], 0, [], set()
print("ready", flush=True)
import threading
stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
while not stopped.wait(0.02):
    try:
        with duckdb.connect(path, read_only=True) as snapshot:
            people, promised, status, doubles, changes, told = snapshot.execute('''
                select (select count(*) from people),
                       (select max(try_cast(lastName as integer)) from people),
                       (select status from cycles order by cycle_id desc limit 1),
                       (select count(*) - count(distinct person_id_marketo) from people),
                       (select count(*) from changes where field = 'lastName'),
                       (select count(*) from contacts)
            ''').fetchone()
        n_reads += 1
        seen.add(people)
        # Round n of the test creates one contact whose last name is n: all of it is there, or nothing.
        if not people == promised == told == changes or doubles or status == "running":
            faults.append([people, promised, status, doubles, changes, told])
    except Exception as error:
        faults.append(f"{type(error).__name__}: {error}")
print(json.dumps({"n_reads": n_reads, "faults": faults[:5], "seen": sorted(seen)}))
"""
DYING_WRITER = """
import os, signal, sys, duckdb
snapshot = duckdb.connect(sys.argv[1])
snapshot.execute("set wal_autocheckpoint = '1GB'")
snapshot.execute("insert into people by name select 999 as person_id_marketo")
print("written", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_table_and_column_says_what_it_means(shared_world: HttpWorld) -> None:
    shared_world.sync()
    tables = dict(shared_world.query("select table_name, comment from duckdb_tables()"))
    columns = shared_world.query("select table_name, column_name, comment from duckdb_columns() where not internal")
    assert [table for table, comment in tables.items() if not comment] == []
    assert [(table, column) for table, column, comment in columns if not comment] == []
    for table, names in MUST_HAVE.items():
        there = {column for of, column, _ in columns if of == table}
        assert set(names.split()) <= there, table


def test_nobody_can_write_to_the_file_and_older_clients_can_read_it(shared_world: HttpWorld) -> None:
    shared_world.sync()
    file = shared_world.data_dir / "snapshot.duckdb"
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert not file.with_name("snapshot.duckdb.wal").exists()
    ((tags,),) = shared_world.query("select tags from duckdb_databases() where database_name = 'snapshot'")
    assert tags["storage_version"].startswith("v1.2.0")
    # The number in the file's header is what an older client looks at first: 65 is what DuckDB 1.2 writes and reads.
    assert int.from_bytes(file.read_bytes()[12:20], "little") <= 65


def test_ids_by_which_rows_are_found_again_are_not_compressed_and_nothing_else(shared_world: HttpWorld) -> None:
    shared_world.sync()
    defined = shared_world.query("select table_name, sql from duckdb_tables() order by 1")
    found = {name: re.findall(r"(\w+) VARCHAR USING COMPRESSION Uncompressed", sql) for name, sql in defined}
    assert {name: columns for name, columns in found.items() if columns} == {
        "accounts": ["accountid"],
        "companies": ["company_id_marketo"],
        "contacts": ["contactid"],
        "leads": ["leadid"],
        "users": ["user_id"],
    }


def test_a_reader_never_sees_an_error_or_half_a_cycle(tmp_path_factory: pytest.TempPathFactory) -> None:
    with HttpWorld(tmp_path_factory.mktemp("world")) as world:
        world.create_record("contact", lastname="1")
        world.sync()
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(world.data_dir / "snapshot.duckdb")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdin is not None
            assert reader.stdout.readline() == "ready\n"
            for n in range(2, 8):
                world.create_record("contact", lastname=str(n))
                world.sync()
                time.sleep(0.1)
            reader.stdin.close()
            told = json.loads(reader.stdout.read())
    assert told["faults"] == []
    assert told["n_reads"] > 20
    assert len(told["seen"]) > 3, "the reader saw the snapshot change"


def test_a_client_that_dies_while_writing_cannot_keep_others_from_reading(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with HttpWorld(tmp_path_factory.mktemp("world")) as world:
        record_id = world.create_record("contact", lastname="A")
        world.sync()
        file = world.data_dir / "snapshot.duckdb"
        log = file.with_name("snapshot.duckdb.wal")
        file.chmod(0o644)
        died = subprocess.run([sys.executable, "-c", DYING_WRITER, str(file)], capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL
        assert died.stdout == "written\n"
        assert log.exists(), "the dead client left its log, else this test shows nothing"
        world.edit_record("contact", record_id, jobtitle="T")
        world.sync()
        assert not log.exists()
        assert world.query("select lastName, title from people") == [("A", "T")]
        assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_a_reader_that_stays_connected_keeps_the_state_it_opened(shared_world: HttpWorld) -> None:
    world = shared_world
    world.sync()
    with duckdb.connect(world.data_dir / "snapshot.duckdb", read_only=True) as early:
        before = early.execute("select count(*) from contacts").fetchone()
        world.create_record("contact", lastname="Later")
        world.sync()
        assert early.execute("select count(*) from contacts").fetchone() == before
    assert world.query("select count(*) from contacts") != [before]


def test_an_analyst_can_ask_which_people_changed_today_in_which_direction_by_which_rule(
    shared_world: HttpWorld,
) -> None:
    world = shared_world
    contact = world.create_record("contact", lastname="Asked", address1_city="A")
    lead = world.create_record("lead", lastname="Asked too", address1_city="A")
    world.sync()
    persons = {"contact": world.person_of("contact", contact), "lead": world.person_of("lead", lead)}
    for record_type, record_id in (("contact", contact), ("lead", lead)):
        world.edit_record(record_type, record_id, address1_city="B")
        world.edit_person(persons[record_type], city="C", phone="1")
    world.sync()
    rows = world.query(
        """
        select p.lastName, c.direction, c.field, c.old_value, c.new_value, c.rule
        from changes c join people p using (person_id_marketo) join cycles y using (cycle_id)
        where y.started_at >= current_date and p.lastName like 'Asked%' and c.rule not like 'R15%'
        order by all
        """
    )
    assert [row[:5] for row in rows] == [
        ("Asked", "to_dynamics", "phone", None, "1"),
        ("Asked", "to_marketo", "city", "C", "B"),
        ("Asked too", "to_dynamics", "city", "B", "C"),
        ("Asked too", "to_dynamics", "phone", None, "1"),
    ]
    assert [row[5][:3] for row in rows] == ["R34", "R35", "R35", "R34"]
