"""`dynsync check` answers every question of the pre-flight with yes or with what to do (R21, R124, R125)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dynsync_pipeline.cli.preflight import Finding, findings
from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.errors import ColumnUnknown
from dynsync_pipeline.model.field_map import load_field_map, parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import RequestStore, Task, Wish
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

HEADER = "record_type,marketo_field,dynamics_column,type,direction,enabled"


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("check"), time_scale=6000) as running:
        yield running


def settings_of(emulators: Emulators, data_dir: Path, **other: Any) -> Settings:
    values: dict[str, Any] = {
        name.removeprefix("DYNSYNC_").lower(): value
        for name, value in emulators.environment.items()
        if name.startswith("DYNSYNC_")
    }
    return Settings(**(values | {"data_dir": data_dir} | other))


def refused(found: list[Finding]) -> dict[str, Finding]:
    return {finding.question: finding for finding in found if not finding.is_ok}


def control(emulators: Emulators, path: str, **body: object) -> None:
    httpx.post(f"{emulators.marketo_url}{path}", json=body, verify=False).raise_for_status()


def schema(emulators: Emulators, **change: str) -> None:
    """Change a table of Dynamics."""
    url = f"{emulators.dataverse_url}/emulator/dataverse/schema"
    httpx.post(url, json=change, verify=False).raise_for_status()


def privileges(emulators: Emulators, *denied: str) -> None:
    """Take these from the sync's user, and give all others back."""
    httpx.post(
        f"{emulators.dataverse_url}/emulator/dataverse/privileges",
        json={"user": "sync", "deny": list(denied)},
        verify=False,
    ).raise_for_status()


def test_everything_is_yes_against_systems_that_are_set_up(emulators: Emulators, tmp_path: Path) -> None:
    found = list(findings(settings_of(emulators, tmp_path), load_field_map()))
    assert refused(found) == {}
    assert len(found) >= 12
    (cost,) = [finding.answer for finding in found if finding.question == "First load: what it costs"]
    assert re.fullmatch(
        r"about [\d,]+ accounts, [\d,]+ contacts, [\d,]+ leads: [\d,]+ calls of Dynamics and [\d,]+ .*", cost
    )


def test_a_wrong_marketo_secret_is_a_no_with_the_setting_to_correct(emulators: Emulators, tmp_path: Path) -> None:
    settings = settings_of(emulators, tmp_path, marketo_client_secret="wrong")
    no = refused(list(findings(settings, load_field_map())))
    assert list(no) == ["Marketo: address and sign-in"]
    assert "DYNSYNC_MARKETO_CLIENT_SECRET" in no["Marketo: address and sign-in"].next_step


def test_a_wrong_dynamics_secret_is_a_no_with_the_setting_to_correct(emulators: Emulators, tmp_path: Path) -> None:
    settings = settings_of(emulators, tmp_path, dynamics_client_secret="wrong")
    no = refused(list(findings(settings, load_field_map())))
    assert list(no) == ["Dynamics: address and sign-in"]
    assert "DYNSYNC_DYNAMICS_CLIENT_SECRET" in no["Dynamics: address and sign-in"].next_step


def test_a_mapped_column_or_field_that_is_missing_is_named(emulators: Emulators, tmp_path: Path) -> None:
    fields = parse_field_map(
        f"{HEADER}\nlead,title,new_nothing,text,both,true\nlead,nothingHere,fax,text,both,true\n", "map"
    )
    no = refused(list(findings(settings_of(emulators, tmp_path), fields)))
    assert "new_nothing" in no["Dynamics: 2 mapped columns of leads"].answer
    assert "nothingHere" in no["Marketo: 2 mapped fields"].answer


def test_r88_a_filter_that_is_read_is_told_and_one_that_may_not_be_read_is_a_no(
    emulators: Emulators, tmp_path: Path
) -> None:
    changes = ({"action": "secure", "table": "lead"}, {"action": "add", "table": "account", "kind": "text"})
    for change in changes:
        schema(emulators, column="new_synctomkto", **change)
    found = {finding.question: finding for finding in findings(settings_of(emulators, tmp_path), load_field_map())}
    told = [found[f"Dynamics: filter of {table}"] for table in ("accounts", "contacts", "leads")]
    assert [each.is_ok for each in told] == [True, True, False]
    assert ["keeps nobody out" in told[0].answer, "is read" in told[1].answer] == [True, True]
    assert "every cycle stops" in told[2].next_step
    schema(emulators, action="unsecure", table="lead", column="new_synctomkto")
    schema(emulators, action="drop", table="account", column="new_synctomkto")


def test_a_type_that_fits_neither_system_and_a_date_without_its_zone_are_told(
    emulators: Emulators, tmp_path: Path
) -> None:
    """R109, R45: what a cycle would park."""
    lines = ("lead,title,jobtitle,integer,both,true", "lead,dateOfBirth,mkt_lastinterestingmomentdate,date,both,true")
    fields = parse_field_map("\n".join((HEADER, *lines, "")), "map")
    found = {finding.question: finding for finding in findings(settings_of(emulators, tmp_path), fields)}
    assert not found["Types of the field map"].is_ok
    assert "text would fit" in found["Types of the field map"].answer
    zone = "Dynamics: time zone of dates that are kept as times"
    assert (found[zone].is_ok, found[zone].answer) == (True, "Etc/UTC")


@story
def test_a_field_that_is_read_only_and_one_that_only_writes_find_refused_are_told(emulators: Emulators) -> None:
    """R107: the right to write a column is told by no definition, but by the cycles."""
    world = MemoryWorld(parse_field_map(f"{HEADER}\nlead,title,jobtitle,text,both,true\n", "map"), publishes=True)
    person = world.link(RecordType.LEAD, "r", title="A")
    world.cycle()
    no = ColumnUnknown("no right", system="dynamics", request="PATCH", code="0x8004f507", field="jobtitle")
    world.dynamics.refuses = lambda key, values: no
    world.marketo.put(person, title="B")
    for _ in range(2):
        world.cycle()
    fields = parse_field_map(f"{HEADER}\nlead,leadSource,leadsourcecode,choice,both,true\n"
                             "lead,originalReferrer,fax,text,both,true\n", "map")  # fmt: skip
    told = refused(list(findings(settings_of(emulators, world.settings.data_dir), fields)))
    assert (
        "title of leads: Dynamics lists jobtitle and refuses it: no right."
        in told["Fields that the last cycle synced"].answer
    )
    assert told["Marketo: 2 mapped fields"].answer == "read only: originalReferrer."


@pytest.mark.parametrize(
    ("denied", "told"),
    [("prvWriteContact", "may not write"), ("prvWriteContact:global", "only some of them")],
)
def test_r125_a_user_who_may_not_write_every_contact_is_a_no(
    emulators: Emulators, tmp_path: Path, denied: str, told: str
) -> None:
    privileges(emulators, denied)
    try:
        no = refused(list(findings(settings_of(emulators, tmp_path), load_field_map())))
    finally:
        privileges(emulators)
    assert list(no) == ["Dynamics: contacts writable"]
    assert told in no["Dynamics: contacts writable"].answer
    assert "prvWriteContact" in no["Dynamics: contacts writable"].next_step


def test_a_table_that_nothing_goes_to_need_not_be_writable(emulators: Emulators, tmp_path: Path) -> None:
    fields = parse_field_map(
        f"{HEADER}\nlead,title,jobtitle,text,both,true\ncontact,title,jobtitle,text,to_marketo,true\n", "map"
    )
    privileges(emulators, "prvWriteContact")
    try:
        found = list(findings(settings_of(emulators, tmp_path), fields))
    finally:
        privileges(emulators)
    assert refused(found) == {}
    assert "Dynamics: leads writable" in {finding.question for finding in found}


def test_r78_what_nobody_has_asked_for_need_not_be_allowed(emulators: Emulators, tmp_path: Path) -> None:
    settings = settings_of(emulators, tmp_path, listen_tokens="t" * 24)
    privileges(emulators, "prvAssignLead", "prvCreateActivity")
    try:
        assert refused(list(findings(settings, load_field_map()))) == {}
        with RequestStore(settings.requests_file) as store:
            wishes = [
                Wish(1, RecordType.LEAD, "push", "Ann", kind="owner"),
                Wish(1, RecordType.LEAD, "push", kind="task", task=Task("Call")),
            ]
            store.ask(wishes, datetime.now(UTC).replace(tzinfo=None))
        no = refused(list(findings(settings, load_field_map())))
    finally:
        privileges(emulators)
    assert list(no) == ["Dynamics: leads assignable", "Dynamics: tasks creatable"]
    assert "prvCreateActivity" in no["Dynamics: tasks creatable"].next_step


@story
def test_r125_calls_that_the_day_has_left_are_shown_of_both_systems(emulators: Emulators, hand_made: HandMade) -> None:
    at = datetime.now(UTC).replace(tzinfo=None)
    many = "update ledger.cycles set n_calls_dynamics = 500, n_calls_marketo = 600"
    hand_made.publish(hand_made.cycle(1, f"{at:%Y-%m-%d %H:%M:%S}"), many)
    data_dir = hand_made.settings.data_dir
    found = {finding.question: finding for finding in findings(settings_of(emulators, data_dir), load_field_map())}
    asked = "Dynamics: calls in the last 24 hours"
    assert (found[asked].is_ok, found[asked].answer) == (True, "500 of the 100,000 that DynSync may send")
    spent = settings_of(emulators, data_dir, dynamics_calls_per_day=500, marketo_calls_per_day=600)
    no = refused(list(findings(spent, load_field_map())))
    assert list(no) == [asked, "Marketo: calls in the last 24 hours"]
    assert "DYNSYNC_DYNAMICS_CALLS_PER_DAY" in no[asked].next_step


def test_a_key_field_that_marketo_lacks_is_named_with_its_setting(emulators: Emulators, tmp_path: Path) -> None:
    settings = settings_of(emulators, tmp_path, marketo_field_type="noSuchField")
    no = refused(list(findings(settings, load_field_map())))
    assert "noSuchField" in no["Marketo: the fields the sync owns"].answer
    assert "DYNSYNC_MARKETO_FIELD_TYPE" in no["Marketo: the fields the sync owns"].next_step


def test_r21_a_native_sync_that_is_on_is_a_no(emulators: Emulators, tmp_path: Path) -> None:
    control(emulators, "/emulator/marketo/behaviour", native_crm=True)
    try:
        no = refused(list(findings(settings_of(emulators, tmp_path), load_field_map())))
        assert list(no) == ["Marketo: no native CRM sync, companies writable"]
    finally:
        control(emulators, "/emulator/marketo/behaviour", native_crm=False)


def test_r30_a_map_is_proposed_by_label_and_changes_nothing(emulators: Emulators, tmp_path: Path, run: Run) -> None:
    environment = {n: v for n, v in emulators.environment.items() if n.startswith("DYNSYNC_")}
    field = {"displayName": "Microsoft Do Not Email", "name": "mSDoNotEmail", "dataType": "boolean"}
    httpx.post(
        f"{emulators.marketo_url}/rest/v1/leads/schema/fields.json",
        json={"input": [field]},
        headers={"Authorization": f"Bearer {token_of(emulators)}"},
        verify=False,
    ).raise_for_status()
    own = {**environment, "DYNSYNC_DATA_DIR": str(tmp_path / "data")}
    ran = run("check", "--propose-map", environment=own)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == f"{HEADER},collision"
    assert "lead,mSDoNotEmail,donotemail,boolean,both,false," in lines
    assert "Named by label: contact: Microsoft Do Not Email → mSDoNotEmail" in ran.err
    assert parse_field_map(ran.out, "proposed").fields == load_field_map().fields
    assert not (tmp_path / "data").exists()
    assert run("check", "--propose-map", "--json", environment=own).code == 2


def token_of(emulators: Emulators) -> str:
    """Of the user of other tools, who may make fields."""
    answer = httpx.get(
        f"{emulators.marketo_url}/identity/oauth/token",
        params={
            "grant_type": "client_credentials",
            "client_id": emulators.marketo.other_client_id,
            "client_secret": emulators.marketo.other_client_secret,
        },
        verify=False,
    )
    return str(answer.json()["access_token"])
