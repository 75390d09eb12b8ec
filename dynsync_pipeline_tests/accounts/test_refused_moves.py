"""A contact that moves to another account while Marketo refuses it, and what happens meanwhile (R59)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.reconcile.test_keyless_companies import FIELDS, shown
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

ACCOUNT, CONTACT = RecordType.ACCOUNT, RecordType.CONTACT


@story
@pytest.mark.parametrize("to", ["b", None])
def test_r59_a_move_that_was_refused_logs_what_the_company_that_is_left_holds_when_it_is_made(to: str | None) -> None:
    """Also where somebody edited that company, which no feed tells, between the refusal and the next try."""
    world = MemoryWorld(FIELDS)
    for name in "ab":
        world.dynamics.put(ACCOUNT, name, name=f"Account {name}", address1_city="Bern")
    world.dynamics.put(CONTACT, "c", jobtitle="A", _parentcustomerid_value="a")
    world.settled()
    (person,) = world.marketo.bearers(KEYS.contact_id, "c")
    fault = RequestRefused("no", system="marketo", request="POST", code="1003")
    world.marketo.refuses = lambda key, values: fault if key == str(person) else None
    world.dynamics.put(CONTACT, "c", _parentcustomerid_value=to)
    world.settled()
    assert shown(world, person)[1] == "Account a"
    world.marketo.put_company("a", company="Local")
    world.marketo.refuses = lambda key, values: None
    world.clock += timedelta(days=1)
    world.settled()
    assert shown(world, person)[1] == (to and "Account b")
    told = "select old_value, new_value from ledger.activities where person_id = ? and field = 'company'"
    assert world.rows(told, person) == [("Local", to and "Account b")]
