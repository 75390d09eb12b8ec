"""What the snapshot shows of accounts that ended, contacts that stand under a contact, types of activities (R23, R61, R66)."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

ACCOUNT, CONTACT = RecordType.ACCOUNT, RecordType.CONTACT


def published(world: MemoryWorld, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        return snapshot.execute(query).fetchall()


@story
def test_an_account_that_ended_and_a_parent_that_is_a_contact_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    world = MemoryWorld()
    world.publishes = True
    for account_id in ("a1", "a2", "a3"):
        world.dynamics.put(ACCOUNT, account_id, name="Contoso", statecode="0")
        world.link(CONTACT, f"of {account_id}", title="A")
        world.dynamics.put(CONTACT, f"of {account_id}", _parentcustomerid_value=account_id)
    world.link(CONTACT, "alone", title="A")
    world.settled()
    states = "select contact_id_dynamics, account_state from people order by all"
    assert [row[1] for row in published(world, states)] == [None, "active", "active", "active"]
    assert published(world, "select distinct parent_is_contact from contacts where parentcustomerid is not null") == [
        (False,)
    ]
    assert "parent is a contact" not in caplog.text

    world.dynamics.put(ACCOUNT, "a2", statecode="1")
    world.dynamics.delete(ACCOUNT, "a3")
    world.dynamics.put(CONTACT, "alone", _parentcustomerid_value="OF A1")
    assert world.settled() == 0
    assert [row[1] for row in published(world, states)] == [None, "active", "inactive", "deleted"]
    assert published(world, "select contactid from contacts where parent_is_contact") == [("alone",)]
    told = [record.getMessage() for record in caplog.records if "parent is a contact" in record.getMessage()]
    assert len(told) == 1
    assert "no account: 1." in told[0]

    world.dynamics.put(ACCOUNT, "a2", statecode="0")
    world.settled()
    assert [row[1] for row in published(world, states)] == [None, "active", "active", "deleted"]


def test_r66_entries_bear_the_numbers_that_marketo_gives_their_types() -> None:
    world = MemoryWorld()
    world.publishes = True
    world.link(CONTACT, "linked", title="A", rating="1")
    world.settled()
    world.dynamics.put(CONTACT, "linked", jobtitle="B", new_rating="9")
    world.dynamics.put(CONTACT, "new", jobtitle="B")
    world.marketo.lengths["phone"] = 3
    world.dynamics.put(CONTACT, "linked", telephone1="too long")
    world.clock += timedelta(days=1)
    world.settled()
    types = "select distinct activity_type, activity_type_id from activities order by all"
    assert published(world, types) == [("Change Data Value", 13), ("New Person", 12), ("Sync Error", None)]
