"""An answer to a whole request costs only the record, or the field, that is at fault, and never the other direction.

Rule R116; docs/design.md#refusals. Each batch here holds the culprit beside a collision and an edit like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline.emulators.faults import Fault
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.bending import Bend
from dynsync_pipeline_tests.worlds.core import CoreWorld

pytestmark = story

POISON = "Poison"
BATCH, LEADS = r"/\$batch", r"^/rest/v1/leads\.json"
FOR_EVER = {"method": "POST", "times": 0}


@pytest.fixture(autouse=True)
def _no_faults_left(world: CoreWorld) -> Iterator[None]:
    yield
    world.emulators.dataverse_faults.clear()
    world.emulators.marketo_faults.clear()


def last_cycle(world: CoreWorld) -> tuple[str, bool]:
    ((status, is_told),) = world.query("select status, message is not null from cycles order by cycle_id desc limit 1")
    return status, is_told


def changes_of(world: CoreWorld, record_id: str) -> list[tuple[object, ...]]:
    return world.query(
        "select direction, field, new_value from changes where record_id_dynamics = ? "
        "and rule_code <> 'new_in_dynamics' order by change_id",
        record_id,
    )


@pytest.mark.parametrize("fault", sampled([{"status": 413}, {"status": 200, "code": "1003"}, {"status": 414},
                                           {"status": 200, "code": "609"}], 2), ids=str)  # fmt: skip
def test_of_a_batch_that_marketo_refuses_whole_only_the_culprits_field_is_set_aside(
    world: CoreWorld, fault: dict[str, object]
) -> None:
    taken = [world.take("lead") for _ in range(3)]
    (culprit, poisoned), (collided, other), (plain, third) = taken
    world.emulators.marketo_faults.add(Fault(path=LEADS, body=POISON, **FOR_EVER, **fault))  # type: ignore[arg-type]
    world.edit_record("lead", culprit, jobtitle=POISON, address1_city="Bern")
    world.edit_record("lead", collided, jobtitle="D", address1_city="Rome")
    world.edit_person(other, title="M")
    world.edit_record("lead", plain, jobtitle="Seller")
    world.settle()
    assert world.values(poisoned, "title", "city") == ("Buyer", "Bern")
    assert world.errors_of(culprit) == [("to_marketo", "update", "title", 1, "waiting")]
    assert world.values(other, "title", "city") == ("M", "Rome")
    assert world.columns("lead", collided, "jobtitle") == ("M",)
    assert world.values(third, "title") == ("Seller",)
    assert world.errors_of(collided) == world.errors_of(plain) == []
    assert changes_of(world, culprit) == [("to_marketo", "city", "Bern")]
    assert last_cycle(world) == ("succeeded", False)
    ((message,),) = world.query("select message from sync_errors where record_id_dynamics = ?", culprit)
    assert POISON not in message


def test_of_a_batch_that_dynamics_refuses_whole_only_the_culprits_field_is_set_aside(world: CoreWorld) -> None:
    (culprit, poisoned), (collided, other), (plain, third) = (world.take("contact") for _ in range(3))
    world.emulators.dataverse_faults.add(Fault(path=BATCH, body=POISON, status=400, code="0x80060888", **FOR_EVER))  # type: ignore[arg-type]
    world.edit_person(poisoned, title=POISON, city="Bern")
    world.edit_person(other, title="M", city="Rome")
    world.edit_record("contact", collided, jobtitle="D")
    world.edit_person(third, title="Seller")
    world.settle()
    assert world.columns("contact", culprit, "jobtitle", "address1_city") == ("Buyer", "Bern")
    assert world.errors_of(culprit) == [("to_dynamics", "update", "title", 1, "waiting")]
    assert world.columns("contact", collided, "jobtitle", "address1_city") == ("D", "Rome")
    assert world.columns("contact", plain, "jobtitle") == ("Seller",)
    assert changes_of(world, culprit) == [("to_dynamics", "city", "Bern")]
    world.emulators.dataverse_faults.clear()
    world.edit_person(poisoned, title="Cured")
    world.settle()
    assert world.columns("contact", culprit, "jobtitle") == ("Cured",)
    assert [error[-1] for error in world.errors_of(culprit)] == ["resolved"]


def test_a_value_that_dynamics_refuses_without_naming_its_field_holds_nothing_back(world: CoreWorld) -> None:
    contact, person = world.take("contact")
    world.edit_person(person, dateOfBirth="1700-01-01", title="Seller", city="Bern", phone="+41 2")
    world.settle()
    columns = ("jobtitle", "address1_city", "telephone1", "birthdate")
    assert world.columns("contact", contact, *columns) == ("Seller", "Bern", "+41 2", None)
    assert world.errors_of(contact) == [("to_dynamics", "update", "dateOfBirth", 1, "waiting")]
    assert len(changes_of(world, contact)) == 3


@pytest.mark.parametrize(
    "fault", sampled([{"status": 500}, {"cut": "after"}, {"status": 503}, {"half": True}], 2), ids=str
)
def test_while_dynamics_fails_every_write_marketo_gets_its_own_and_nothing_is_lost_or_doubled(
    world: CoreWorld, fault: dict[str, object]
) -> None:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.emulators.dataverse_faults.add(Fault(path=BATCH, **FOR_EVER, **fault))  # type: ignore[arg-type]
    world.edit_person(first, title="To Dynamics")
    world.edit_record("lead", lead, jobtitle="To Marketo")
    new = world.create_contact(jobtitle="New")
    world.sync()
    assert world.values(second, "title") == ("To Marketo",)
    assert world.values(world.person_of("contact", new), "title") == ("New",)
    assert last_cycle(world) == ("failed", True)
    world.emulators.dataverse_faults.clear()
    world.settle()
    assert world.columns("contact", contact, "jobtitle") == ("To Dynamics",)
    assert changes_of(world, contact) == [("to_dynamics", "title", "To Dynamics")]
    assert changes_of(world, lead) == [("to_marketo", "title", "To Marketo")]
    assert last_cycle(world) == ("succeeded", False)


@pytest.mark.parametrize("fault", sampled([{"cut": "after"}, {"status": 200, "code": "611"}, {"status": 502},
                                           {"status": 200, "code": "604"}, {"status": 200, "code": "607"}], 2),
                         ids=str)  # fmt: skip
def test_while_marketo_fails_every_write_dynamics_gets_its_own_and_nobody_is_made_twice(
    world: CoreWorld, fault: dict[str, object]
) -> None:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_person(first, title="To Dynamics")
    world.emulators.marketo_faults.add(Fault(path=LEADS, body=r"^\{", **FOR_EVER, **fault))  # type: ignore[arg-type]
    world.edit_record("lead", lead, jobtitle="To Marketo")
    new = world.create_contact(jobtitle="New")
    world.sync()
    assert world.columns("contact", contact, "jobtitle") == ("To Dynamics",)
    assert last_cycle(world) == ("failed", True)
    world.emulators.marketo_faults.clear()
    world.settle()
    assert world.values(second, "title") == ("To Marketo",)
    assert world.values(world.person_of("contact", new), "title") == ("New",)
    assert changes_of(world, lead) == [("to_marketo", "title", "To Marketo")]
    assert changes_of(world, contact) == [("to_dynamics", "title", "To Dynamics")]


PARTS = rb"^(--\S+\r\n)(.*?)(\r\n--[^\r\n]+\r\n)(.*?)(\r\n--[^\r\n]+--\r\n?)$"
RESULTS = rb'"result":\[(\{[^{}]*\}),(\{[^{}]*\})\]'


@pytest.mark.parametrize(("parts", "results"), [(rb"\1\4\3\2\5", rb'"result":[\2,\1]'), (rb"\1\2\5", rb'"result":[\2]')],
                         ids=["in another order", "too few"])  # fmt: skip
def test_answers_that_do_not_fit_what_was_sent_are_taken_for_nobodys(
    world: CoreWorld, parts: bytes, results: bytes
) -> None:
    """R18: neither is an error that of the record beside it, nor is a new person."""
    edited = [world.take("contact") for _ in range(2)]
    new = [world.create_contact(jobtitle=f"New {number}") for number in range(2)]
    for number, (_, person) in enumerate(edited):
        world.edit_person(person, title=f"Edited {number}")
    bends = [Bend("POST .*batch", PARTS, parts), Bend(r"POST .*/leads\.json", RESULTS, results)]
    world.dynamics.bends = world.marketo.bends = bends
    world.sync()
    world.dynamics.bends, world.marketo.bends = [], []
    assert [bend.n_bent for bend in bends] == [1, 1]
    assert last_cycle(world) == ("failed", True)
    world.settle()
    for number, (contact, _) in enumerate(edited):
        assert world.columns("contact", contact, "jobtitle") == (f"Edited {number}",)
        assert changes_of(world, contact) == [("to_dynamics", "title", f"Edited {number}")]
    for number, contact in enumerate(new):
        assert world.values(world.person_of("contact", contact), "title") == (f"New {number}",)
        assert changes_of(world, contact) == []


def test_a_system_that_is_down_is_not_hammered_and_the_command_says_so(world: CoreWorld) -> None:
    for _, person in (world.take("contact") for _ in range(2)):
        world.edit_person(person, title="To Dynamics")
    world.emulators.dataverse_faults.add(Fault(path=BATCH, status=500, **FOR_EVER))  # type: ignore[arg-type]
    ended = world.dynsync("sync")
    assert ended.returncode == 1
    assert "not everything written" in ended.stderr
    assert "Dynamics answered POST" in ended.stderr
    world.emulators.dataverse_faults.clear()
    world.settle()
