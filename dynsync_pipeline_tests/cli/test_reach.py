"""What a plan reaches is told before it is sent: an account's edit with all its people, an import field by field."""

from __future__ import annotations

import pytest

from dynsync_pipeline.cli import plan as command
from dynsync_pipeline.cli.output import prints_to
from dynsync_pipeline.look.plan import read_plan
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, read_all

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
FIELDS = parse_field_map(
    f"{HEADER}account,company,name,text,to_marketo,true\ncontact,title,jobtitle,text,both,true\nlead,title,jobtitle,text,both,true\n",
    "map",
)


@story
def test_an_account_reaches_its_people_and_an_import_is_told_by_field(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = MemoryWorld(FIELDS)
    world.dynamics.put(ACCOUNT, "acme", name="Acme", statecode="0")
    for n in range(52):
        world.dynamics.put(CONTACT, f"c{n}", jobtitle="A", _parentcustomerid_value="acme")
    leads = [world.link(LEAD, f"l{n}", title="A") for n in range(3)]
    world.settled()
    world.dynamics.put(ACCOUNT, "acme", name="Acme & Sons")
    for n in range(51):
        world.dynamics.put(CONTACT, f"c{n}", jobtitle="B")
    for person_id in leads:
        world.marketo.put(person_id, title="M")
    world.dynamics.put(LEAD, "new", jobtitle="N")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        with cycle.warehouse.reading() as connection:
            found = read_plan(connection)
    names = ("cause", "name", "system", "n_writes", "n_people", "n_activities", "n_calls")
    told = [tuple(row[name] for name in names) for row in found.reach]
    assert told == [
        ("account", "acme", "marketo", 1, 52, 52, 1),
        ("field", "title", "marketo", 51, 51, 51, 1),
        ("field", "title", "dynamics", 3, 3, 0, 3),
        ("create", "lead", "marketo", 1, 1, 1, 1),
    ]
    monkeypatch.setattr(prints_to, "width", 120)
    command._show(found)
    shown = capsys.readouterr().out
    assert "account acme" in shown
    assert "title of contacts, to Marketo" in shown
    assert "to Dynamics" not in shown.partition("What reaches")[2], "three people are few"
    world.allow(ask_above=50)
    world.dynamics.put(ACCOUNT, "acme", name="Acme & Daughters")
    for n in range(51):
        world.dynamics.put(CONTACT, f"c{n}", jobtitle="C")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        with cycle.warehouse.reading() as connection:
            found = read_plan(connection)
    assert [row["cause"] for row in found.reach] == ["field", "create"], "what waits reaches nobody"
    waiting = [(row["cause"], row["n_people"], row["approval_id"], row["asked_at"]) for row in found.waiting]
    assert waiting == [("account", 52, None, None), ("field", 51, None, None)], (
        "a number of another cause by the next cycle"
    )
    command._show(found)
    shown = capsys.readouterr().out.partition("Waits to be approved")[2]
    assert "account acme" in shown
    assert "the next cycle" in shown
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        with cycle.warehouse.reading() as connection:
            later = read_plan(connection).waiting
    numbers = world.rows("select distinct approval_id from state.approvals order by all")
    assert sorted((row["approval_id"],) for row in later) == numbers
