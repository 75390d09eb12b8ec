"""What can be wrong outside of DynSync: one clear sentence each, with what to do, the exit code that is promised, nothing lost.

Every test goes through the command line, and every test looks for secrets and e-mail addresses in what it prints.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from dynsync_pipeline.emulators.dataverse.certificate import new_client_pem
from dynsync_pipeline.emulators.tls import Tls
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.http import FEW, HttpWorld
from dynsync_pipeline_tests.worlds.ports import free_port
from dynsync_pipeline_tests.worlds.processes import command

FAILED, SETTINGS = 1, 2
DEFAULT_MAP = Path(__file__).parents[2] / "dynsync_pipeline" / "model" / "default_field_map.csv"
Ended = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """A world after its first load."""
    with HttpWorld(tmp_path_factory.mktemp("world")) as world:
        world.create_record("contact", lastname="O'Brien", emailaddress1="secret.address@example.com")
        world.create_record("lead", lastname="Lead")
        world.sync()
        yield world


def refused(world: HttpWorld, code: int, ended: Ended, *said: str) -> str:
    """Assert that the command ended with `code` and one sentence that says all this; returns the sentence."""
    printed = ended.stdout + ended.stderr
    assert ended.returncode == code, printed
    assert "Traceback" not in printed
    text = " ".join(ended.stderr.split())
    for words in said:
        assert re.search(words, text), f"{words!r} is missing in: {text}"
    assert len(text) < 700, "more than a sentence and what to do"
    assert not re.search(r"\b(?:[A-Z][a-z]+){2,}:|\w(?:Error|Exception)\b", text), f"a name out of the code: {text}"
    silent_about_secrets(world, printed)
    return text


def silent_about_secrets(world: HttpWorld, printed: str) -> None:
    """No secret, token or e-mail address may stand in what was printed."""
    emulators = world.emulators
    for secret in (
        emulators.dataverse.client_secret,
        emulators.password,
        emulators.marketo.client_secret,
        world.environment["DYNSYNC_MARKETO_CLIENT_SECRET"],
        world.environment["DYNSYNC_DYNAMICS_CLIENT_SECRET"],
        "secret.address",
        "wrong-secret",
    ):
        assert secret not in printed
    assert "@" not in re.sub(r"@odata\.\w+", "", printed)
    assert "access_token" not in printed


def nothing_lost(world: HttpWorld, ended_as: str = "") -> None:
    """An edit made before the failure arrives with the next cycle, and the snapshot can be read all the time."""
    assert world.query("select count(*) from people where record_type is not null")[0][0] >= 2
    if ended_as:
        assert world.query("select status from cycles order by cycle_id desc limit 1") == [(ended_as,)]
    (record_id,) = world.query("select contactid from contacts limit 1")[0]
    title = f"After {world.query('select max(cycle_id) from cycles')[0][0]}"
    world.edit_record("contact", record_id, jobtitle=title)
    world.sync()
    assert world.person(world.person_of("contact", record_id), "title")["title"] == title
    with world.writes_nothing():
        world.sync()


def certificate_settings(file: Path) -> dict[str, str]:
    return {"DYNSYNC_DYNAMICS_CLIENT_SECRET": "", "DYNSYNC_DYNAMICS_CERTIFICATE_FILE": str(file)}


@story
def test_a_wrong_secret_of_dynamics_is_named_with_where_to_renew_it(world: HttpWorld) -> None:
    ended = world.dynsync("sync", DYNSYNC_DYNAMICS_CLIENT_SECRET="wrong-secret")
    refused(world, FAILED, ended, "(?i)secret", "AADSTS7000215", "DYNSYNC_DYNAMICS_CLIENT_SECRET")
    nothing_lost(world, "failed")


@story
def test_a_wrong_secret_of_marketo_is_named_with_where_to_renew_it(world: HttpWorld) -> None:
    ended = world.dynsync("sync", DYNSYNC_MARKETO_CLIENT_SECRET="wrong-secret")
    refused(world, FAILED, ended, "(?i)marketo", "DYNSYNC_MARKETO_CLIENT_(SECRET|ID)")
    nothing_lost(world, "failed")


@story
def test_a_certificate_that_dynamics_does_not_know_is_named(world: HttpWorld, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(new_client_pem())
    ended = world.dynsync("sync", **certificate_settings(stranger))
    refused(world, FAILED, ended, "(?i)certificate", "AADSTS700027")


@story
def test_a_certificate_file_that_is_none_is_named(world: HttpWorld, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("this is no certificate\n")
    ended = world.dynsync("sync", **certificate_settings(nonsense))
    refused(world, SETTINGS, ended, "DYNSYNC_DYNAMICS_CERTIFICATE_FILE")
    ended = world.dynsync("sync", **certificate_settings(tmp_path / "missing.pem"))
    refused(world, SETTINGS, ended, "missing.pem|DYNSYNC_DYNAMICS_CERTIFICATE_FILE")


def test_a_wrong_tenant_is_named(world: HttpWorld) -> None:
    ended = world.dynsync("sync", DYNSYNC_DYNAMICS_TENANT_ID="00000000-0000-0000-0000-00000000dead")
    refused(world, FAILED, ended, "(?i)tenant", "DYNSYNC_DYNAMICS_TENANT_ID")


@story
@pytest.mark.parametrize("system", ["DYNAMICS", "MARKETO"])
def test_a_host_that_nobody_serves_is_named_and_retrying_is_advised(world: HttpWorld, system: str) -> None:
    """The folder was made with that address."""
    nobody = f"127.0.0.1:{free_port()}"
    settings = {f"DYNSYNC_{system}_URL": f"https://{nobody}", "DYNSYNC_RETRY_LIMIT_S": "0"}
    of_before = move_to(world, system, nobody)
    ended = world.dynsync("sync", **settings)
    move_to(world, system, of_before)
    refused(world, FAILED, ended, nobody)
    nothing_lost(world, "failed")


def move_to(world: HttpWorld, system: str, address: str) -> str:
    """Let the working file know the system at this address; returns the one of before."""
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as connection:
        known = connection.execute("select host from state.systems where system = ?", [system.lower()]).fetchone()
        connection.execute("update state.systems set host = ? where system = ?", [address, system.lower()])
    assert known is not None
    return str(known[0])


def test_a_host_name_that_does_not_exist_is_named(world: HttpWorld, tmp_path: Path) -> None:
    ended = world.dynsync(
        "sync",
        DYNSYNC_MARKETO_URL="https://no-such-host.invalid",
        DYNSYNC_RETRY_LIMIT_S="0",
        DYNSYNC_DATA_DIR=str(tmp_path),
        NO_PROXY="*",
    )
    refused(world, FAILED, ended, "no-such-host.invalid")


def test_r111_other_systems_than_the_data_folder_was_made_with_are_refused(world: HttpWorld) -> None:
    """All links would be taken for deleted, and everybody created anew."""
    ended = world.dynsync("sync", DYNSYNC_MARKETO_URL="https://another.mktorest.example")
    refused(world, SETTINGS, ended, "another.mktorest.example", "DYNSYNC_DATA_DIR")


def test_an_authority_that_is_not_trusted_is_named_with_the_setting_that_adds_one(
    world: HttpWorld, tmp_path: Path
) -> None:
    other = Tls(tmp_path)
    ended = world.dynsync("sync", DYNSYNC_CA_FILE=str(other.ca_file), DYNSYNC_RETRY_LIMIT_S="0")
    refused(world, FAILED, ended, "(?i)certificate", "DYNSYNC_CA_FILE")


def test_an_authorities_file_that_is_missing_is_named(world: HttpWorld, tmp_path: Path) -> None:
    ended = world.dynsync("sync", DYNSYNC_CA_FILE=str(tmp_path / "none.pem"))
    refused(world, SETTINGS, ended, "none.pem|DYNSYNC_CA_FILE")


@story
def test_an_expired_cursor_leads_to_a_full_read_that_loses_and_repeats_nothing(world: HttpWorld) -> None:
    """R7."""
    (record_id,) = world.query("select contactid from contacts limit 1")[0]
    world.edit_record("contact", record_id, jobtitle="while the cursor expired")
    world.control("dataverse", "cursors/expire", {})
    world.dynamics.forget()
    world.marketo.forget()
    ended = world.dynsync("sync")
    assert ended.returncode == 0, ended.stderr
    assert "expired" in ended.stderr
    assert [(write.field, write.value) for write in world.marketo.writes] == [("title", "while the cursor expired")]
    assert world.dynamics.writes == []
    nothing_lost(world, "succeeded")


def map_with(tmp_path: Path, *lines: str) -> Path:
    """The default field map and these lines."""
    file = tmp_path / "fields.csv"
    file.write_text(DEFAULT_MAP.read_text("utf-8") + "".join(f"{line}\n" for line in lines), "utf-8")
    return file


@pytest.mark.parametrize(
    ("line", "said"),
    sampled(
        [
            ("contact,department,department,text,both", "columns"),
            ("contact,department,department,txt,both,true", "type"),
            ("contact,department,department,text,sideways,true", "direction"),
            ("contact,department,Depart ment,text,both,true", "dynamics_column"),
            ("contact,email,emailaddress2,text,both,true", "twice"),
            ("person,department,department,text,both,true", "record_type"),
            ("account,department,department,text,both,true", "direction"),
            ("contact,department,department,text,both,yes", "enabled"),
        ],
        3,
    ),
)
def test_a_broken_line_of_the_field_map_is_named_by_file_and_line(
    world: HttpWorld, tmp_path: Path, line: str, said: str
) -> None:
    file = map_with(tmp_path, line)
    number = len(file.read_text("utf-8").splitlines())
    ended = world.dynsync("sync", DYNSYNC_FIELD_MAP=str(file))
    refused(world, SETTINGS, ended, f"fields.csv, line {number}", said)


def test_a_field_map_that_is_missing_or_no_text_is_named(world: HttpWorld, tmp_path: Path) -> None:
    ended = world.dynsync("sync", DYNSYNC_FIELD_MAP=str(tmp_path / "none.csv"))
    refused(world, SETTINGS, ended, "none.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    ended = world.dynsync("sync", DYNSYNC_FIELD_MAP=str(tmp_path / "binary.csv"))
    refused(world, SETTINGS, ended, "binary.csv")
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04\x1b[2J\x07,a\n")
    ended = world.dynsync("sync", DYNSYNC_FIELD_MAP=str(tmp_path / "sheet.csv"))
    refused(world, SETTINGS, ended, "sheet.csv, line 1")
    assert "\x1b" not in ended.stderr, "what a file holds must not steer the terminal"


def test_a_field_that_does_not_exist_is_parked_with_a_sentence_and_the_others_go_on(
    make_world: Callable[..., HttpWorld], tmp_path: Path
) -> None:
    """R26: a column that Dynamics does not have, and a field that Marketo does not have."""
    world = make_world()
    record_id = world.create_record("contact", lastname="Goes on")
    lines = ("contact,fax,no_such_column,text,both,true", "contact,noSuchField,fax,text,both,true")
    ended = world.dynsync("sync", DYNSYNC_FIELD_MAP=str(map_with(tmp_path, *lines)))
    assert ended.returncode == 0, ended.stderr
    for name in ("no_such_column", "noSuchField"):
        assert re.search(f"{name}.*correct the field map, ", ended.stderr), ended.stderr
    silent_about_secrets(world, ended.stdout + ended.stderr)
    assert world.person(world.person_of("contact", record_id), "lastName")["lastName"] == "Goes on"


def test_a_column_that_gets_secured_or_dropped_between_cycles_is_parked_and_clears_nothing(
    make_world: Callable[..., HttpWorld],
) -> None:
    """R14, R106."""
    world = make_world(fields=(*FEW, "middleName"))
    record_id = world.create_record("contact", lastname="A", jobtitle="Kept", middlename="Kept too", fax="1")
    world.sync()
    person_id = world.person_of("contact", record_id)

    world.control("dataverse", "schema", {"action": "secure", "table": "contact", "column": "jobtitle"})
    world.edit_record("contact", record_id, address1_city="Brno")
    ended = world.dynsync("sync")
    assert ended.returncode == 0, ended.stderr
    assert world.person(person_id, "title", "city") == {"id": person_id, "title": "Kept", "city": "Brno"}

    world.control("dataverse", "schema", {"action": "drop", "table": "contact", "column": "middlename"})
    world.edit_record("contact", record_id, address1_city="Praha")
    ended = world.dynsync("sync")
    assert ended.returncode == 0, ended.stderr
    assert "middlename" in ended.stderr
    silent_about_secrets(world, ended.stdout + ended.stderr)
    assert world.person(person_id, "middleName", "city") == {"id": person_id, "middleName": "Kept too", "city": "Praha"}
    with world.writes_nothing():
        world.sync()
    world.control("dataverse", "schema", {"action": "unsecure", "table": "contact", "column": "jobtitle"})
    world.edit_record("contact", record_id, address1_city="Wien")
    world.sync()
    assert world.person(person_id, "title", "city") == {"id": person_id, "title": "Kept", "city": "Wien"}


@story
def test_a_full_disk_is_named_and_the_next_cycle_with_space_loses_nothing(world: HttpWorld) -> None:
    (record_id,) = world.query("select leadid from leads limit 1")[0]
    world.edit_record("lead", record_id, description="x" * 1900)
    working = max(path.stat().st_size for path in world.data_dir.glob("*.duckdb"))
    for limit_bytes in (4_000, working // 2, working):
        ended = command(("sync",), world.environment_with(), world.folder, largest_file_bytes=limit_bytes)
        if ended.returncode != 0:
            refused(world, FAILED, ended, "(?i)full|written|space|disk")
    nothing_lost(world)
    assert world.person(world.person_of("lead", record_id), "mktoPersonNotes")["mktoPersonNotes"] == "x" * 1900


def test_a_data_folder_that_cannot_be_used_is_named(world: HttpWorld, tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    ended = world.dynsync("sync", DYNSYNC_DATA_DIR=str(file))
    refused(world, FAILED, ended, "DYNSYNC_DATA_DIR")


def test_missing_settings_are_all_named_at_once(world: HttpWorld) -> None:
    ended = world.dynsync("sync", DYNSYNC_DYNAMICS_URL="", DYNSYNC_MARKETO_CLIENT_SECRET="")
    refused(world, SETTINGS, ended, "DYNSYNC_DYNAMICS_URL", "DYNSYNC_MARKETO_CLIENT_SECRET")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DYNSYNC_DYNAMICS_URL", "org.crm.dynamics.com"),
        ("DYNSYNC_DYNAMICS_URL", "http://org.crm.dynamics.com"),
        ("DYNSYNC_MARKETO_CALLS_PER_DAY", "many"),
        ("DYNSYNC_FIRST_LOAD", "maybe"),
        ("DYNSYNC_DYNAMICS_USERNAME", "somebody"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_without_its_value(world: HttpWorld, name: str, value: str) -> None:
    ended = world.dynsync("sync", **{name: value})
    refused(world, SETTINGS, ended, f"{name}|dynamics_username")


@story
def test_a_first_load_into_a_marketo_with_people_is_refused_until_it_is_allowed(
    make_world: Callable[..., HttpWorld],
) -> None:
    world = make_world()
    world.create_record("contact", lastname="New")
    world.create_person(lastName="Here before")
    with world.writes_nothing():
        ended = world.dynsync("sync", DYNSYNC_FIRST_LOAD="refuse")
    refused(world, 4, ended, "DYNSYNC_FIRST_LOAD=create", "Nothing was written")
    assert world.query("select status from cycles") == [("stopped_by_guard",)]
    world.sync()
    assert world.query("select count(*) from people") == [(2,)]


def test_the_environment_of_the_tests_reaches_no_command(world: HttpWorld) -> None:
    assert not [
        name for name in world.environment_with() if name.startswith("DYNSYNC_") and name not in world.environment
    ]
    assert os.environ.get("DYNSYNC_DYNAMICS_URL") != world.environment["DYNSYNC_DYNAMICS_URL"]
