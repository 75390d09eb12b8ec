"""The filter between the two emulators, by the roads on which a record is read, to what people see (R87 to R94)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

COLUMN = "new_synctomkto"
Names = dict[str, str]


@story
def test_records_are_kept_out_and_let_in_from_end_to_end(make_world: Callable[..., HttpWorld]) -> None:
    """Accounts have no such column at first, and contacts one with the default yes; then its column is lost in three ways."""
    world = make_world()
    world.environment["DYNSYNC_LARGEST_SHARE"] = "0.5"
    account = world.create_record("account", name="Old", address1_city="Bern")
    people = let_two_in(world, account)
    world.sync()
    assert {name: bearers(world, record_id) for name, record_id in people.items()} == {"in": 1, "out": 0, "stale": 1}
    turn_stale(world, people, account)
    let_in_again(world, people, account)
    lose_the_column(world, people)


def let_two_in(world: HttpWorld, account: str) -> Names:
    """Three contacts of an account, one of them kept out from the beginning."""
    parent = {"parentcustomerid_account@odata.bind": f"/accounts({account})"}
    return {
        name: world.create_record(
            "contact", lastname=name, jobtitle="A", **parent, **({COLUMN: False} if name == "out" else {})
        )
        for name in ("in", "out", "stale")
    }


def settle(world: HttpWorld) -> None:
    """A cycle, and one after it that writes and logs nothing (R12)."""
    world.sync()
    logged = world.query("select count(*) from activities")
    with world.writes_nothing():
        world.sync()
    assert world.query("select count(*) from activities") == logged


def bearers(world: HttpWorld, contact_id: str) -> int:
    """How many people bear the key of a contact."""
    return len(world.people("dynamicsContactId", contact_id))


def turn_stale(world: HttpWorld, people: Names, account: str) -> None:
    """R90, R92, R94: edits of both sides stay where they are; the account gets a column, and a no."""
    person = world.person_of("contact", people["stale"])
    world.control("dataverse", "schema", {"action": "add", "table": "account", "column": COLUMN, "kind": "boolean"})
    world.edit_record("contact", people["stale"], **{COLUMN: False}, jobtitle="B", firstname="of Dynamics")
    world.edit_person(person, title="C", phone="1")
    world.edit_record("account", account, **{COLUMN: False}, name="New")
    with world.writes_nothing():
        world.sync()
    assert world.person(person, "title", "phone", "firstName", "company") == {
        "id": person, "title": "C", "phone": "1", "firstName": None, "company": "Old"
    }  # fmt: skip
    assert world.record("contact", people["stale"])["telephone1"] is None
    shown = world.query("select person_id_marketo, is_stale, stale_since is not null from people order by 1")
    assert shown == sorted(
        (world.person_of("contact", people[name]), name == "stale", name == "stale") for name in ("in", "stale")
    )


def let_in_again(world: HttpWorld, people: Names, account: str) -> None:
    """R89, R35: a contact takes Dynamics' value where both edited; the account is applied to all its people."""
    stale = world.person_of("contact", people["stale"])
    for name in ("stale", "out"):
        world.edit_record("contact", people[name], **{COLUMN: True})
    world.edit_record("account", account, **{COLUMN: True})
    settle(world)
    new = world.person_of("contact", people["out"])
    assert world.person(stale, "title", "phone", "firstName", "company") == {
        "id": stale, "title": "B", "phone": "1", "firstName": "of Dynamics", "company": "New"
    }  # fmt: skip
    assert world.record("contact", people["stale"])["telephone1"] == "1"
    assert world.query("select field, winner from collisions") == [("title", "dynamics")]
    started = world.query("select person_id_marketo, reason from activities where activity_type = 'Create [StartSync]'")
    assert sorted(started) == [(person, "R89 let in by the sync filter") for person in sorted([stale, new])]
    assert world.query("select distinct is_stale from people") == [(False,)]


def lose_the_column(world: HttpWorld, people: Names) -> None:
    """Secured, made anew, dropped: nobody is let in by that, whichever read finds it."""
    more = [world.create_record("contact", lastname=f"out {n}", **{COLUMN: False}) for n in range(2)]
    world.edit_record("contact", people["out"], **{COLUMN: False})
    world.sync()
    losses: list[tuple[dict[str, Any], str]] = [
        ({"action": "secure"}, "may not read"),
        ({"action": "retype", "kind": "boolean"}, "emptied, of 3"),
        ({"action": "drop"}, "missing"),
    ]
    for change, said in losses:
        world.control("dataverse", "schema", {"table": "contact", "column": COLUMN, **change})
        world.edit_record("contact", more[0], jobtitle=change["action"])
        with world.writes_nothing(), pytest.raises(GuardStopped, match=said):
            world.sync()
    assert [bearers(world, each) for each in more] == [0, 0]
