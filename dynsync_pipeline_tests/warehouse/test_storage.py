"""The working file: storage errors are sentences, transactions are whole, columns follow the field map."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.model.field_map import FieldMap, parse_field_map
from dynsync_pipeline.warehouse import connection as connection_module
from dynsync_pipeline.warehouse.connection import FIRST_VERSION, SCHEMA_VERSION, Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.follow_map import follow_field_map
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

pytestmark = story

MIGRATIONS = Path(connection_module.__file__).with_name("migrations")
HEADER = "record_type,marketo_field,dynamics_column,type,direction,enabled\n"


def fields(*names: str) -> FieldMap:
    return a_map(*(f"contact,{name},{name},text,both,true" for name in names))


def a_map(*rows: str) -> FieldMap:
    lines = "".join(f"{row}\n" for row in rows)
    return parse_field_map(f"{HEADER}account,company,name,text,to_marketo,true\n{lines}", "map.csv")


def columns_of(warehouse: Warehouse, table: str) -> set[str]:
    with warehouse.reading() as connection:
        return {row[0] for row in connection.execute(f"describe {table}").fetchall()}


def test_a_file_open_in_another_program_is_told(tmp_path: Path) -> None:
    path = tmp_path / "dynsync.duckdb"
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StorageFailed, match=r"open in another program.*snapshot\.duckdb"):
            Warehouse(path)
    finally:
        process.communicate("")
    Warehouse(path).close()


@pytest.mark.parametrize(
    "error",
    [
        duckdb.TransactionException(
            'TransactionContext Error: Failed to commit: Could not write file "/d/a.wal": File too large'
        ),
        duckdb.IOException(
            'IO Error: Checkpoint failed for database "b". The database has been invalidated. '
            'Original error: Could not write file "/d/a.wal": File too large'
        ),
        duckdb.FatalException('FATAL Error: Failed: Could not read from file "/d/a.wal": File too large'),
    ],
)
def test_a_file_that_cannot_be_written_is_told_by_its_own_name_whatever_duckdb_calls_that(
    error: duckdb.Error, tmp_path: Path
) -> None:
    with pytest.raises(StorageFailed) as caught, storage_errors(tmp_path / "dynsync.duckdb"):
        raise error
    assert caught.value.message == "/d/a.wal cannot be read or written: File too large."


def test_an_error_of_a_statement_is_none_of_storage(tmp_path: Path) -> None:
    failed = duckdb.TransactionException("TransactionContext Error: Failed to commit: a key is there twice")
    with pytest.raises(duckdb.TransactionException), storage_errors(tmp_path / "dynsync.duckdb"):
        raise failed
    with (
        pytest.raises(StorageFailed, match=r"dynsync\.duckdb cannot be read or written: odd\."),
        storage_errors(tmp_path / "dynsync.duckdb"),
    ):
        raise duckdb.IOException("IO Error: odd.")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dynsync.duckdb"
    with Warehouse(path) as warehouse, warehouse.transaction() as connection:
        connection.execute("insert into schema_version values (?)", [SCHEMA_VERSION + 1])
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match=rf"newer DynSync \(schema {SCHEMA_VERSION + 1}"):
        Warehouse(path)
    assert path.read_bytes() == before


def test_a_file_from_before_the_first_release_is_left_alone(tmp_path: Path) -> None:
    """Its tables had other columns, under the first version number."""
    path = tmp_path / "dynsync.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("create table schema_version as select 1 as version")
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match=r"before its first release.*Name another data folder"):
        Warehouse(path)
    assert path.read_bytes() == before


def test_every_table_of_the_working_file_says_what_a_row_is() -> None:
    """The nearest comment above it begins with its grain."""
    texts = [file.read_text("utf-8") for file in MIGRATIONS.glob("*.sql")]
    tables = [found for text in texts for found in re.findall(r"((?:--[^\n]*\n)*)create table (\S+)", text)]
    assert len(tables) > 40
    assert [name for comment, name in tables if not comment.startswith("-- One row")] == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "dynsync.duckdb"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageFailed, match=r"dynsync\.duckdb"):
        Warehouse(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file stands where the folder should be: that fails for every user, also for root."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageFailed):
        Warehouse(tmp_path / "data" / "dynsync.duckdb")


def test_a_full_disk_is_told_and_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """A process that may write no more than 8 MB stands for a full disk; afterwards the file opens as it was."""
    path = tmp_path / "dynsync.duckdb"
    code = """
import resource, signal, sys
from pathlib import Path
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.warehouse import connection as connection_module
from dynsync_pipeline.warehouse.connection import Warehouse
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
warehouse = Warehouse(Path(sys.argv[1]))
with warehouse.transaction() as connection:
    connection.execute("create table kept as select 42 as answer")
warehouse.tidy()
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
try:
    with warehouse.transaction() as connection:
        connection.execute("create table big as select md5(range::varchar) as text from range(2000000)")
    warehouse.tidy()
except StorageFailed as error:
    print(error, flush=True)
import os
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "\n" not in done.stdout.strip()
    assert str(path) in done.stdout or str(tmp_path) in done.stdout, done.stdout + done.stderr
    with Warehouse(path) as warehouse, warehouse.reading() as connection:
        assert scalar(connection, "select answer from kept") == 42


@pytest.mark.parametrize("text", ["No space left on device", "Disk quota exceeded"])
def test_what_the_system_says_of_a_full_disk_is_translated(tmp_path: Path, text: str) -> None:
    with (
        Warehouse(tmp_path / "dynsync.duckdb") as warehouse,
        pytest.raises(StorageFailed, match=r"disk .* is full"),
        warehouse.transaction(),
    ):
        raise duckdb.IOException(f'IO Error: Could not write file "x": {text}')


def test_a_path_that_speaks_of_locks_is_not_taken_for_one(tmp_path: Path) -> None:
    """The message quotes the path, and the path is the user's."""
    folder = tmp_path / "padlock space"
    folder.write_text("")
    with pytest.raises(StorageFailed) as caught:
        Warehouse(folder / "dynsync.duckdb")
    assert "another program" not in str(caught.value)
    assert "is full" not in str(caught.value)


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "dynsync.duckdb") as warehouse:
        with pytest.raises(ZeroDivisionError), warehouse.transaction() as connection:
            connection.execute("insert into state.links values (1, 'lead', 'l', now()::timestamp)")
            raise ZeroDivisionError
        with warehouse.reading() as connection:
            assert scalar(connection, "select count(*) from state.links") == 0


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "dynsync.duckdb"
    code = (
        "import os, sys; from pathlib import Path; from dynsync_pipeline.warehouse.connection import Warehouse\n"
        "warehouse = Warehouse(Path(sys.argv[1]))\n"
        "with warehouse.transaction() as c: c.execute(\"insert into state.links values (1, 'lead', 'l', now()::timestamp)\")\n"
        "with warehouse.transaction() as c:\n"
        "    c.execute(\"insert into state.links values (2, 'lead', 'm', now()::timestamp)\")\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with Warehouse(path) as warehouse, warehouse.reading() as connection:
        assert connection.execute("select person_id from state.links").fetchall() == [(1,)]


def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dynsync.duckdb"
    for _ in range(2):
        with Warehouse(path) as warehouse, warehouse.reading() as connection:
            versions = connection.execute("select version from schema_version order by 1").fetchall()
            assert versions == [(version,) for version in range(FIRST_VERSION, SCHEMA_VERSION + 1)]
    assert [file.name for file in tmp_path.iterdir()] == ["dynsync.duckdb"], "closing folds the log into the file"


def test_a_field_that_joins_adds_columns_and_has_no_base_on_old_links() -> None:
    with Warehouse(Path(":memory:")) as warehouse:
        with warehouse.transaction() as connection:
            follow_field_map(connection, fields("one"))
            connection.execute("insert into state.links values (1, 'contact', 'c', now()::timestamp)")
            connection.execute("insert into state.base (person_id, one) values (1, 'A')")
            follow_field_map(connection, fields("one", "two"))
        for table in ("mirror.dynamics_contacts", "inbox.dynamics_contacts", "mirror.marketo_people", "state.base"):
            assert {"one", "two"} <= columns_of(warehouse, table)
        with warehouse.reading() as connection:
            assert connection.execute("from state.base_missing").fetchall() == [(1, "two")]
            assert connection.execute("select one, two from state.base").fetchall() == [("A", None)]


def test_a_field_that_leaves_keeps_its_column_and_values() -> None:
    """Parked, never dropped (R107)."""
    with Warehouse(Path(":memory:")) as warehouse:
        with warehouse.transaction() as connection:
            follow_field_map(connection, fields("one", "two"))
            connection.execute("insert into state.links values (1, 'contact', 'c', now()::timestamp)")
            connection.execute("insert into state.base (person_id, one, two) values (1, 'A', 'B')")
            connection.execute(
                "insert into mirror.dynamics_contacts (contactid, is_deleted, two) values ('c', false, 'B')"
            )
            follow_field_map(connection, fields("one"))
        with warehouse.reading() as connection:
            assert connection.execute("select two from state.base").fetchall() == [("B",)]
            assert connection.execute("select two from mirror.dynamics_contacts").fetchall() == [("B",)]
            assert connection.execute(
                "select field from reconcile.fields where record_type = 'contact'"
            ).fetchall() == [("one",)]
        assert "two" not in columns_of(warehouse, "state.base_values")


def test_following_the_same_map_again_changes_nothing() -> None:
    with Warehouse(Path(":memory:")) as warehouse:
        with warehouse.transaction() as connection:
            follow_field_map(connection, fields("one"))
            connection.execute("insert into state.links values (1, 'contact', 'c', now()::timestamp)")
            connection.execute("insert into state.base (person_id, one) values (1, 'A')")
            follow_field_map(connection, fields("one"))
        with warehouse.reading() as connection:
            assert scalar(connection, "select count(*) from state.base_missing") == 0


def views_of(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Each view with its number, which is another one after it was made anew."""
    return connection.execute("select view_name, view_oid from duckdb_views() where not internal order by 1").fetchall()


def test_views_are_made_again_only_for_another_map() -> None:
    with Warehouse(Path(":memory:")) as warehouse, warehouse.transaction() as connection:
        made_once = {name for name, _ in views_of(connection)}  # by the migrations: no map changes them
        follow_field_map(connection, fields("one"))
        before = views_of(connection)
        follow_field_map(connection, fields("one"))
        assert views_of(connection) == before
        follow_field_map(connection, fields("one", "two"))
        assert {name for name, _ in set(before) & set(views_of(connection))} == made_once


def test_a_map_that_changes_and_changes_back_is_followed_each_time() -> None:
    """A field more, a line's column, type or direction, each alone: never is what another map left behind used on."""
    maps = [
        fields("one"),
        fields("one", "two"),
        a_map("contact,one,other,text,both,true"),
        a_map("contact,one,one,choice,both,true"),
        a_map("contact,one,one,text,to_marketo,true"),
        a_map("lead,one,one,text,both,true"),
        a_map("lead,company,one,text,both,true"),
    ]
    with Warehouse(Path(":memory:")) as warehouse:
        for now in (fields_now for other in maps[1:] for fields_now in (maps[0], other)):
            with warehouse.transaction() as connection:
                follow_field_map(connection, now)
                followed = shown(connection)
            with Warehouse(Path(":memory:")) as fresh, fresh.transaction() as connection:
                follow_field_map(connection, now)
                assert followed == shown(connection)


def shown(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """The followed map and what the views select; that of base is left out, which stays as wide as base ever was."""
    return [
        *connection.execute("from reconcile.fields order by all").fetchall(),
        *connection.execute(
            "select view_name, sql from duckdb_views() where not internal and view_name <> 'moved_base' order by 1"
        ).fetchall(),
    ]


def test_views_of_another_version_are_made_again_though_the_map_is_the_same() -> None:
    with Warehouse(Path(":memory:")) as warehouse, warehouse.transaction() as connection:
        follow_field_map(connection, fields("one"))
        as_it_should = shown(connection)
        connection.execute("create or replace view state.company_values as select 'as an earlier version made it'")
        connection.execute("update state.followed_map set digest = 'of that version'")
        follow_field_map(connection, fields("one"))
        assert shown(connection) == as_it_should


def test_a_file_that_is_mostly_free_is_written_anew_with_all_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "FEWEST_BLOCKS", 8)
    path = tmp_path / "dynsync.duckdb"
    with Warehouse(path) as warehouse:
        with warehouse.transaction() as connection:
            connection.execute(
                "create table state.ballast as select range as i, hash(range)::varchar as t from range(2000000)"
            )
            connection.execute("insert into state.links values (7, 'lead', 'r', now()::timestamp)")
            connection.execute("select nextval('ledger.entries') from range(5)").fetchall()
        warehouse.tidy()
        full = path.stat().st_size
        with warehouse.transaction() as connection:
            connection.execute("drop table state.ballast")
        warehouse.tidy()
        warehouse.tidy()
        assert path.stat().st_size < full / 2
        with warehouse.transaction() as connection:
            assert connection.execute("select person_id from state.links").fetchall() == [(7,)]
            assert connection.execute("select nextval('ledger.entries')").fetchall() == [(6,)]
            assert connection.execute("select canonical_boolean('1')").fetchall() == [("true",)]
    with Warehouse(path) as warehouse, warehouse.reading() as connection:
        assert connection.execute("select person_id from state.links").fetchall() == [(7,)]


def storage_version_of(path: Path) -> str:
    """As the file itself tells it."""
    with duckdb.connect(path, read_only=True) as connection:
        told = connection.execute(
            "select tags['storage_version'] from duckdb_databases() where database_name = current_database()"
        )
        return str(told.fetchall()[0][0])


def test_a_new_file_is_of_the_storage_version_of_snapshots_and_duckdb_works_as_with_any_other(tmp_path: Path) -> None:
    path, setting = tmp_path / "dynsync.duckdb", "select current_setting('storage_compatibility_version')"
    with Warehouse(path) as warehouse, warehouse.reading() as connection, duckdb.connect() as another:
        assert connection.execute(setting).fetchall() == another.execute(setting).fetchall()
    assert storage_version_of(path).startswith("v1.2.0")


def test_a_file_that_is_written_anew_keeps_its_limits_and_its_ids_uncompressed(tmp_path: Path) -> None:
    limits = "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
    uncompressed = (
        "select table_name, count(*) from duckdb_tables(), unnest(regexp_extract_all(sql, 'USING COMPRESSION Uncompressed')) "
        "where schema_name in ('mirror', 'state') group by 1 order by 1"
    )
    with Warehouse(tmp_path / "dynsync.duckdb") as warehouse:
        warehouse.limit(300, 1, tmp_path / "spilled")
        told = []
        for _ in range(2):
            with warehouse.reading() as connection:
                told.append([connection.execute(query).fetchall() for query in (limits, uncompressed)])
            warehouse.rewrite()
    assert told[0] == told[1]
    assert told[0][0][0][1] == 1
    assert told[0][1] == [
        ("dynamics_accounts", 1), ("dynamics_contacts", 1), ("dynamics_leads", 1), ("links", 1),
        ("marketo_companies", 1), ("marketo_people", 3),
    ]  # fmt: skip


def test_a_file_of_another_storage_version_is_written_anew_once_with_all_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dynsync.duckdb"
    with monkeypatch.context() as earlier:
        earlier.setattr(connection_module, "STORAGE_VERSION", "v2.0.0")
        with Warehouse(path) as warehouse, warehouse.transaction() as connection:
            connection.execute("insert into state.links values (7, 'lead', 'r', now()::timestamp)")
    assert storage_version_of(path).startswith("v2.0.0")
    with Warehouse(path) as warehouse:
        written = path.stat().st_ino
        with monkeypatch.context() as crowded:
            crowded.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=path.stat().st_size))
            warehouse.tidy()
        assert path.stat().st_ino == written
        warehouse.tidy()
        written = path.stat().st_ino
        warehouse.tidy()
        assert path.stat().st_ino == written
        with warehouse.reading() as connection:
            assert connection.execute("select person_id from state.links").fetchall() == [(7,)]
    assert storage_version_of(path).startswith("v1.2.0")


def test_a_file_of_an_older_version_keeps_the_lines_of_the_map_that_it_has(tmp_path: Path) -> None:
    """Synced or parked; what the package has beside them is new to it."""
    path = tmp_path / "dynsync.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("create table schema_version (version integer)")
        connection.execute(MIGRATIONS.joinpath("0002.sql").read_text("utf-8"))
        connection.execute("insert into schema_version (version) values (2)")
        connection.execute(
            "insert into reconcile.fields (record_type, field, dynamics_column, type, direction, is_on_company) "
            "values ('lead', 'title', 'jobtitle', 'text', 'both', false)"
        )
        connection.execute(
            "insert into state.parked_fields (record_type, marketo_field, dynamics_column, reason) "
            "values ('lead', 'leadScore', 'mkt_leadscore', 'no such column')"
        )
    with Warehouse(path) as warehouse, warehouse.reading() as connection:
        kept = connection.execute(
            "select record_type, marketo_field, dynamics_column from state.shipped_fields order by all"
        )
        assert kept.fetchall() == [("lead", "leadScore", "mkt_leadscore"), ("lead", "title", "jobtitle")]


def test_values_of_an_older_version_are_spelt_as_this_one_does(tmp_path: Path) -> None:
    """Otherwise the first cycle after an upgrade would take them for edits."""
    path = tmp_path / "dynsync.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(MIGRATIONS.joinpath("0002.sql").read_text("utf-8"))
        connection.execute("create table schema_version as select 2 as version")
        connection.execute("alter table state.base add column title varchar")
        connection.execute("insert into state.base values (1, 'a' || chr(13) || 'b' || chr(0)), (2, 'a'), (3, null)")
    with Warehouse(path) as warehouse, warehouse.reading() as connection:
        rows = connection.execute("select title from state.base order by person_id").fetchall()
    assert rows == [("a\nb",), ("a",), (None,)]


def test_a_cycle_takes_no_more_of_the_machine_than_the_settings_allow(tmp_path: Path) -> None:
    world = MemoryWorld()
    asked = "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
    with duckdb.connect() as another:
        assert world.rows(asked)[0][0] != another.execute(asked).fetchall()[0][0], "DuckDB's own is four fifths"
    world.allow(memory_mb=512, threads=3, temp_dir=tmp_path / "o'brien" / "spilt")
    with world.opened():
        assert world.rows(asked) == [("488.2 MiB", 3, str(tmp_path / "o'brien" / "spilt"))]
    assert (tmp_path / "o'brien" / "spilt").stat().st_mode & 0o077 == 0, "what is spilt is everybody's data"

    (tmp_path / "file").touch()
    world.allow(temp_dir=tmp_path / "file" / "below")
    with pytest.raises(StorageFailed, match=r"/file/below cannot be read or written: Not a directory"), world.opened():
        pass
