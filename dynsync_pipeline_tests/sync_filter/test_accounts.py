"""Accounts that the filter keeps out, and their contacts, who may be in or out by filters of their own (R94)."""

from __future__ import annotations

from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.sync_filter.filtered import (
    ACCOUNT,
    CONTACT,
    NO,
    YES,
    filtered_world,
    kept_out,
    people_of,
    rests,
    starts,
)
from dynsync_pipeline_tests.worlds.memory import MemoryWorld


def names(world: MemoryWorld) -> dict[str, str | None]:
    """The name of every company in Marketo, by its key."""
    return {key: values.get("company") for key, values in world.marketo.company_rows.items()}


def fan_outs(world: MemoryWorld) -> list[tuple[object, ...]]:
    """What accounts did to people: person, old and new name."""
    query = "select person_id, old_value, new_value from ledger.activities where field = 'company' order by activity_id"
    return world.rows(query)


def test_r94_contacts_of_an_account_that_is_kept_out_sync_and_its_company_grows_stale() -> None:
    """Nothing fans out. Let in, the whole account is applied at once, to those of its contacts who are not stale."""
    world = filtered_world()
    world.dynamics.put(ACCOUNT, "a", name="Old")
    world.dynamics.put(ACCOUNT, "other", name="Other")
    for contact in ("in", "stale", "leaves", "comes"):
        account = "other" if contact == "comes" else "a"
        world.dynamics.put(CONTACT, contact, jobtitle="A", _parentcustomerid_value=account)
    world.settled()
    people = {contact: people_of(world, contact)[0] for contact in ("in", "stale", "leaves", "comes")}
    world.dynamics.put(ACCOUNT, "a", **NO, name="New")
    world.dynamics.put(CONTACT, "stale", **NO)
    world.dynamics.put(CONTACT, "in", jobtitle="B")
    world.dynamics.put(CONTACT, "new", _parentcustomerid_value="a")
    world.dynamics.put(CONTACT, "leaves", _parentcustomerid_value="other")
    world.dynamics.put(CONTACT, "comes", _parentcustomerid_value="a")
    world.settled()
    assert names(world) == {"a": "Old", "other": "Other"}
    assert world.both(people["in"], "title") == ("B", "B")
    (new,) = people_of(world, "new")
    assert world.marketo.rows[new].values[COMPANY_KEY] == "a"
    assert set(fan_outs(world)) == {(people["leaves"], "Old", "Other"), (people["comes"], "Other", "Old")}
    assert kept_out(world) == [("account", "a"), ("contact", "stale")]
    n_before = len(fan_outs(world))
    world.dynamics.put(ACCOUNT, "a", **YES)
    world.settled()
    assert names(world)["a"] == "New"
    assert sorted(fan_outs(world)[n_before:]) == [
        (p, "Old", "New") for p in sorted([people["in"], people["comes"], new])
    ]
    assert world.rows("select n_contacts from ledger.account_changes") == [(3,)]
    assert starts(world) == []
    assert world.rows("from state.started") == []
    rests(world)


@story
def test_r94_an_account_that_was_never_let_in_is_no_company_until_it_is() -> None:
    """Its contacts sync without one. Local edits of a company last until its account is let in (R52)."""
    world = filtered_world()
    world.dynamics.put(ACCOUNT, "never", **NO, name="Never")
    world.dynamics.put(ACCOUNT, "edited", name="A")
    world.dynamics.put(CONTACT, "c", jobtitle="A", _parentcustomerid_value="never")
    world.settled()
    (person,) = people_of(world, "c")
    assert names(world) == {"edited": "A"}
    assert world.marketo.rows[person].values.get(COMPANY_KEY) is None
    world.dynamics.put(ACCOUNT, "edited", **NO)
    world.settled()
    world.marketo.put_company("edited", company="local")
    world.dynamics.put(ACCOUNT, "edited", new_x="1", name="B")
    world.settled()
    assert names(world) == {"edited": "local"}
    for account in ("never", "edited"):
        world.dynamics.put(ACCOUNT, account, **YES)
    world.settled()
    assert names(world) == {"edited": "B", "never": "Never"}
    assert world.marketo.rows[person].values[COMPANY_KEY] == "never"


@story
def test_a_stale_contact_keeps_its_company_when_it_moves_and_takes_the_other_when_it_is_let_in() -> None:
    """Also where the new account is deactivated, or its column emptied, in the same cycle."""
    world = filtered_world()
    for account in ("a", "b"):
        world.dynamics.put(ACCOUNT, account, name=account.upper())
    world.dynamics.put(CONTACT, "c", _parentcustomerid_value="a")
    world.settled()
    (person,) = people_of(world, "c")
    world.dynamics.put(CONTACT, "c", **NO, _parentcustomerid_value="b")
    world.dynamics.put(ACCOUNT, "a", name="A2")
    world.settled()
    assert world.marketo.rows[person].values[COMPANY_KEY] == "a"
    assert fan_outs(world) == []
    world.dynamics.put(CONTACT, "c", **YES)
    world.settled()
    assert world.marketo.rows[person].values[COMPANY_KEY] == "b"
    assert fan_outs(world) == [(person, "A2", "B")]
