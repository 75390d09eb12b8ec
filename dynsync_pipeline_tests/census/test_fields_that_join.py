"""A field that joins, or comes back, while its record, table or person is out of reach: no value is taken for nothing.

Not here: how a new field is read of everybody in Marketo (`test_new_fields.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.errors import LinkRefused
from dynsync_pipeline.extract import census
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse import cycles
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
TITLE = "title,jobtitle,text,both,true"
PHONE = "phone,telephone1,text,both,true"
DAY = timedelta(days=1)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new field is read of one person a cycle."""
    monkeypatch.setattr(census, "PEOPLE_PER_CALL", 1)
    monkeypatch.setattr(cycles, "MOST_CALLS", 1)


@pytest.mark.usefixtures("slowly")
def test_a_table_that_waits_as_a_field_joins_is_compared_when_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """R42, R49: the column that nobody has read is not empty."""
    world = MemoryWorld(field_map(TITLE))
    person = world.link(LEAD, "c", title="A")
    world.link(LEAD, "d", title="A")
    world.link(LEAD, "e", title="A")
    world.marketo.put(person, phone="M")
    world.settled()
    world.follow(field_map(TITLE, PHONE))
    world.cycle()
    assert world.rows("select distinct reason_code from state.parked_fields") == [("being_read",)]
    world.dynamics.put(LEAD, "c", telephone1="D")
    world.cycle()
    whole = world.dynamics.changes

    def refusing(table: Any, columns: Any, cursor: str | None) -> Iterator[Any]:
        """The first page of the leads is empty, and the link to the next is refused."""
        if table.record_type is LEAD:
            if cursor is None:
                (first,) = whole(table, columns, cursor)
                yield dataclasses.replace(first, rows=None, is_last=False)
            raise LinkRefused("400", system="dynamics", request="GET /api/data/v9.2/leads")
        yield from whole(table, columns, cursor)

    monkeypatch.setattr(world.dynamics, "changes", refusing)
    for _ in range(4):
        world.cycle()
    assert world.both(person, "phone") == ("D", "M")
    monkeypatch.setattr(world.dynamics, "changes", whole)
    world.clock += DAY
    world.settled()
    assert world.both(person, "phone") == ("M", "M")
    assert [row[4:] for row in world.ledger()["collisions"]] == [
        (None, "D", "M", "marketo", "first_meeting_marketo_wins")
    ]


def test_an_account_whose_table_waits_as_a_field_joins_clears_no_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """R46, R49."""
    lines = "account,company,name,text,to_marketo,true\n", "account,billingCity,address1_city,text,to_marketo,true\n"
    contact = f"contact,{TITLE}\n"
    world = MemoryWorld(parse_field_map(HEADER + lines[0] + contact, "test.csv"))
    world.allow(census_share=0.0)  # it would read one account at once, and of many only a few
    world.dynamics.put(ACCOUNT, "a", name="A", address1_city="Bern")
    world.settled()
    world.marketo.put_company("a", billingCity="Bern")
    world.follow(parse_field_map(HEADER + "".join(lines) + contact, "test.csv"))
    whole = world.dynamics.changes

    def refusing(table: Any, columns: Any, cursor: str | None) -> Iterator[Any]:
        if table.record_type is ACCOUNT:
            raise LinkRefused("400", system="dynamics", request="GET /api/data/v9.2/accounts")
        yield from whole(table, columns, cursor)

    monkeypatch.setattr(world.dynamics, "changes", refusing)
    for _ in range(3):
        # Whatever makes the account due just now, such as a write that was refused before.
        world.rows("insert into inbox.touched (record_type, dynamics_id, is_receipt) values ('account', 'a', false)")
        world.cycle()
    assert world.rows("select record_type from state.unread_tables") == [("account",)]
    assert world.marketo.company_rows["a"]["billingCity"] == "Bern"


@pytest.mark.parametrize("record_type", [CONTACT, LEAD])
def test_a_field_that_came_back_while_its_record_was_unread_clears_nobody(record_type: RecordType) -> None:
    """R107, R116."""
    world = MemoryWorld(field_map(TITLE, PHONE))
    unread = world.link(record_type, "c", title="A", phone="1")
    other = world.link(record_type, "d", title="A", phone="1")
    world.settled()
    world.dynamics.hidden = {"telephone1"}
    world.clock += DAY
    world.cycle()
    for record_id in ("c", "d"):
        world.dynamics.put(record_type, record_id, telephone1=None)
    world.dynamics.unreadable = {"c": "jobtitle"}
    world.dynamics.hidden = set()
    world.clock += DAY
    for _ in range(3):
        world.cycle()
    world.dynamics.unreadable = {}
    world.clock += DAY
    world.settled()
    assert [world.both(person, "phone") for person in (other, unread)] == [("1", "1"), ("1", "1")]


@pytest.mark.parametrize("is_deleted_first", [True, False], ids=["before", "while"])
@pytest.mark.usefixtures("slowly")
def test_an_edit_of_a_field_that_joined_after_a_deletion_brings_a_person_back(is_deleted_first: bool) -> None:
    """R81: the joining itself revives nobody, what is edited later does."""
    world = MemoryWorld(field_map(TITLE))
    person = world.link(CONTACT, "c", title="A")
    for place in range(3):
        world.link(CONTACT, f"d{place}", title="A")
    world.dynamics.put(CONTACT, "c", telephone1="D")
    world.settled()
    if is_deleted_first:
        world.marketo.delete(person)
        world.settled()
    world.follow(field_map(TITLE, PHONE))
    world.cycle()
    if not is_deleted_first:
        assert world.rows("select distinct reason_code from state.parked_fields") == [("being_read",)]
        world.marketo.delete(person)
    for _ in range(6):
        world.cycle()
    assert world.rows("select * from state.parked_fields") == []
    assert world.marketo.bearers(KEYS.contact_id, "c") == []
    world.dynamics.put(CONTACT, "c", telephone1="E")
    world.settled()
    (successor,) = world.marketo.bearers(KEYS.contact_id, "c")
    assert world.both(successor, "phone") == ("E", "E")
