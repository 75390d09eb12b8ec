"""Whose a record is, by name, in the snapshot and nowhere else (R24)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.clients.dynamics.protocol import Owner
from dynsync_pipeline.errors import AccessDenied, TimedOut
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
DENIED = AccessDenied("No right.", system="dynamics", request="GET systemusers", code="0x80040220", status=403)


def owner(
    world: MemoryWorld, owner_id: str, name: str | None, *, is_team: bool = False, is_enabled: bool = True
) -> None:
    """Somebody adds or changes a user or team."""
    at = f"{world.now():%Y-%m-%dT%H:%M:%SZ}"
    email = None if is_team else f"{owner_id}@example.com"
    world.dynamics.owner_rows = [row for row in world.dynamics.owner_rows if row.id != owner_id]
    world.dynamics.owner_rows.append(Owner(owner_id, is_team, name, email, is_enabled, at))


def published(world: MemoryWorld, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        return snapshot.execute(query).fetchall()


@pytest.fixture
def world() -> Iterator[MemoryWorld]:
    world = MemoryWorld()
    world.publishes = True
    owner(world, "u1", "Sally Sales")
    owner(world, "t1", "Team West", is_team=True)
    world.dynamics.put(ACCOUNT, "a", name="Contoso", _ownerid_value="u1")
    for record_id, owner_id in (("c1", "u1"), ("c2", "T1"), ("c3", "gone"), ("c4", None)):
        world.link(CONTACT, record_id, title="A")
        world.dynamics.put(CONTACT, record_id, _ownerid_value=owner_id)
    world.link(LEAD, "l1", title="A")
    world.dynamics.put(LEAD, "l1", _ownerid_value="u1")
    world.settled()
    yield world


OWNED = """
select 'account', accountid, ownerid, owner_name, owner_email from accounts
union all select 'contact', contactid, ownerid, owner_name, owner_email from contacts
union all select 'lead', leadid, ownerid, owner_name, owner_email from leads
union all select 'person', coalesce(contact_id_dynamics, lead_id_dynamics), owner_id_dynamics, owner_name, owner_email
from people order by all
"""


def test_records_and_people_bear_name_and_address_of_their_owner_also_once_these_change(world: MemoryWorld) -> None:
    sally, west = ("Sally Sales", "u1@example.com"), ("Team West", None)
    assert published(world, OWNED) == [
        ("account", "a", "u1", *sally),
        ("contact", "c1", "u1", *sally),
        ("contact", "c2", "T1", *west),
        ("contact", "c3", "gone", None, None),
        ("contact", "c4", None, None, None),
        ("lead", "l1", "u1", *sally),
        ("person", "c1", "u1", *sally),
        ("person", "c2", "t1", *west),
        ("person", "c3", "gone", None, None),
        ("person", "c4", None, None, None),
        ("person", "l1", "u1", *sally),
    ]
    assert published(world, "from users order by user_id") == [
        ("t1", True, "Team West", None, True),
        ("u1", False, "Sally Sales", "u1@example.com", True),
    ]
    assert all("own" not in name.lower() for _, values in world.marketo.writes for name in values), (
        "Marketo gets none of it"
    )

    # A change of name, or of owner, reaches all whom it concerns, and nobody is written.
    n_read = world.dynamics.n_owners_read
    world.clock += timedelta(minutes=20)
    owner(world, "u1", "Sally Seller", is_enabled=False)
    world.settled()
    assert world.dynamics.n_owners_read == n_read, "they are asked for once an hour"
    world.clock += timedelta(minutes=40)
    world.dynamics.put(CONTACT, "c4", _ownerid_value="t1")
    assert world.settled() == 0
    names = dict(published(world, "select coalesce(contact_id_dynamics, lead_id_dynamics), owner_name from people"))
    assert names == {"c1": "Sally Seller", "c2": "Team West", "c3": None, "c4": "Team West", "l1": "Sally Seller"}
    assert published(world, "select distinct owner_name from accounts") == [("Sally Seller",)]
    assert published(world, "select is_enabled from users where user_id = 'u1'") == [(False,)]
    assert world.dynamics.n_owners_read - n_read <= 3, "what did not change was not read"
    assert (world.dynamics.writes, world.marketo.writes) == ([], [])


@story
def test_what_changes_without_a_time_is_found_a_day_later_and_what_cannot_be_read_holds_nothing_up(
    world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.clock += timedelta(hours=1)
    owner(world, "u2", "Otto")
    world.settled()
    world.dynamics.owner_rows[0] = world.dynamics.owner_rows[0]._replace(name="Sally Silent")
    world.settled()
    assert published(world, "select owner_name from leads") == [("Sally Sales",)]
    world.clock += timedelta(days=1)
    world.settled()
    assert published(world, "select owner_name from leads") == [("Sally Silent",)]

    caplog.set_level(logging.WARNING)
    world.clock += timedelta(days=1)
    for error, n_warnings in ((DENIED, 1), (TimedOut("late", system="dynamics", request="GET systemusers"), 0)):
        world.dynamics.owners_fail = error
        caplog.clear()
        world.dynamics.put(LEAD, "l1", jobtitle=type(error).__name__)
        world.settled()
        assert published(world, "select title from people where lead_id_dynamics = 'l1'") == [(type(error).__name__,)]
        assert sum("Owners" in record.getMessage() for record in caplog.records) == n_warnings, "once a day"
        assert published(world, "select owner_name from leads") == [("Sally Silent",)]
    assert all("@" not in record.getMessage() and "Sally" not in record.getMessage() for record in caplog.records)
