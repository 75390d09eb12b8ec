"""What somebody does between our read and our write is neither overwritten nor lost, and settled in the same cycle.

Also here: what fails for a while, for one record or all of a type, and what is given up. See docs/design.md#refusals.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.dynamics.protocol import RecordWrite, WriteResult
from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.protocol import PersonResult
from dynsync_pipeline.errors import RateLimited, ServerFailed
from dynsync_pipeline_tests.faults.cut_short import cut_at_request
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
from dynsync_pipeline_tests.refusals.test_refusals import LONG
from dynsync_pipeline_tests.worlds.core import CoreWorld, just_before

pytestmark = story


def collisions_of(world: CoreWorld, record_id: str) -> list[tuple[Any, ...]]:
    return world.query(
        "select field, dynamics_value, marketo_value, winner from collisions where record_id_dynamics = ?", record_id
    )


def test_412_an_edit_of_another_column_in_the_meantime_and_ours_both_arrive_in_the_same_cycle(world: CoreWorld) -> None:
    taken = {record_type: world.take(record_type) for record_type in ("contact", "lead")}
    bystander, _ = world.take("contact")
    for _, person in taken.values():
        world.edit_person(person, title="Marketo's edit")

    def edit() -> None:
        for kind, (record_id, _) in taken.items():
            world.edit_record(kind, record_id, telephone1="+81 salesperson")

    with just_before(DynamicsClient, "write", edit) as waiting:
        world.sync_once()
    assert waiting == []
    for kind, (record_id, person) in taken.items():
        assert world.columns(kind, record_id, "jobtitle", "telephone1") == ("Marketo's edit", "+81 salesperson")
        assert world.values(person, "title", "phone") == ("Marketo's edit", "+81 salesperson")
        assert world.errors_of(record_id) == []
        assert collisions_of(world, record_id) == []
        assert world.query("select count(*) from changes where record_id_dynamics = ? and field = 'title'",
                           record_id) == [(2,)], "the value of the creation, and this one, once"  # fmt: skip
    assert world.sent_about(bystander) == []
    world.settle()
    assert world.sent == []


def test_412_an_edit_of_the_same_column_in_the_meantime_is_a_collision_settled_in_the_same_cycle(
    world: CoreWorld,
) -> None:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    for person in (first, second):
        world.edit_person(person, title="M", city="Good edit")

    def edit() -> None:
        world.edit_record("contact", contact, jobtitle="D")
        world.edit_record("lead", lead, jobtitle="D")

    with just_before(DynamicsClient, "write", edit):
        world.sync_once()
    assert world.values(first, "title") == world.columns("contact", contact, "jobtitle") == ("D",)
    assert world.values(second, "title") == world.columns("lead", lead, "jobtitle") == ("M",)
    assert collisions_of(world, contact) == [("title", "D", "M", "dynamics")]
    assert collisions_of(world, lead) == [("title", "D", "M", "marketo")]
    assert world.columns("contact", contact, "address1_city") == ("Good edit",)
    assert world.columns("lead", lead, "address1_city") == ("Good edit",)
    world.settle()
    assert world.sent == []


def test_412_a_record_edited_again_and_again_waits_for_the_next_cycle_and_loses_nothing(world: CoreWorld) -> None:
    contact, person = world.take("contact")
    world.edit_person(person, title="Patient")
    edits = [lambda n=n: world.edit_record("contact", contact, telephone1=f"+{n}") for n in range(3)]
    with just_before(DynamicsClient, "write", *edits) as waiting:
        world.sync()
    assert waiting == [], "three rounds"
    assert world.columns("contact", contact, "jobtitle", "telephone1") == ("Buyer", "+2")
    world.let_time_pass(contact, timedelta(hours=1))
    world.settle()
    assert world.columns("contact", contact, "jobtitle", "telephone1") == ("Patient", "+2")
    assert world.values(person, "title", "phone") == ("Patient", "+2")


def test_an_edit_in_marketo_in_the_meantime_is_settled_as_a_collision(world: CoreWorld) -> None:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_record("contact", contact, jobtitle="D")
    world.edit_record("lead", lead, jobtitle="D")

    def edit() -> None:
        for person in (first, second):
            world.edit_person(person, title="M", phone="+1 meanwhile")

    with just_before(MarketoClient, "sync_people", edit) as waiting:
        world.sync_once()
    assert waiting == []
    # The feed tells of the unseen edit in the next cycle; what won in Marketo needs one more to reach Dynamics.
    world.sync()
    world.sync()
    assert world.values(first, "title") == world.columns("contact", contact, "jobtitle") == ("D",)
    assert collisions_of(world, contact) == [("title", "D", "M", "dynamics")]
    assert world.columns("contact", contact, "telephone1") == ("+1 meanwhile",)
    assert world.columns("lead", lead, "telephone1") == ("+1 meanwhile",)
    assert world.values(second, "title") == world.columns("lead", lead, "jobtitle") == ("M",)
    assert collisions_of(world, lead) == [("title", "D", "M", "marketo")]
    world.settle()
    assert world.sent == []


def test_a_transient_failure_of_one_record_waits_as_long_as_told_and_blocks_nobody(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slow, first), (quick, second) = world.take("contact"), world.take("contact")
    (slow_lead, third), (quick_lead, fourth) = world.take("lead"), world.take("lead")
    for person in (first, second):
        world.edit_person(person, title="To Dynamics")
    for lead in (slow_lead, quick_lead):
        world.edit_record("lead", lead, jobtitle="To Marketo")
    busy = RateLimited("Busy.", system="dynamics", request="POST", code="429", status=429, retry_after_s=1200)
    write, sync_people = DynamicsClient.write, MarketoClient.sync_people

    def write_but_one(client: Any, table: Any, columns: Any, writes: Sequence[RecordWrite]) -> list[WriteResult]:
        sent = [w for w in writes if w.id != slow]
        answers = iter(write(client, table, columns, sent) if sent else ())
        return [WriteResult(w.id, None, busy) if w.id == slow else next(answers) for w in writes]

    def sync_but_one(client: Any, action: str, lookup_field: str, bodies: Sequence[str]) -> list[PersonResult]:
        is_slow = [f'"id": {third},' in body for body in bodies]
        sent = [body for body, slow in zip(bodies, is_slow, strict=True) if not slow]
        answers = iter(sync_people(client, action, lookup_field, sent) if sent else ())
        return [PersonResult(None, "skipped", busy) if slow else next(answers) for slow in is_slow]

    with monkeypatch.context() as patch:
        patch.setattr(DynamicsClient, "write", write_but_one)
        patch.setattr(MarketoClient, "sync_people", sync_but_one)
        world.sync_once()
    assert world.columns("contact", quick, "jobtitle") == ("To Dynamics",)
    assert world.columns("contact", slow, "jobtitle") == ("Buyer",)
    assert world.values(fourth, "title") == ("To Marketo",)
    assert world.values(third, "title") == ("Buyer",)
    world.settle()
    assert world.sent == [], "told to wait twenty minutes"
    for record_id in (slow, slow_lead):
        world.let_time_pass(record_id, timedelta(minutes=21))
    world.settle()
    assert world.columns("contact", slow, "jobtitle") == ("To Dynamics",)
    assert world.values(third, "title") == ("To Marketo",)
    for record_id in (slow, slow_lead):
        assert {error[-1] for error in world.errors_of(record_id)} <= {"resolved"}


def test_r116_a_record_refused_whole_is_told_once_and_others_go_on(world: CoreWorld) -> None:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_person(first, title="Allowed")
    world.edit_person(second, title="Forbidden", city="Forbidden too")
    world.control("dataverse", "privileges", {"user": "sync", "deny": ["prvWriteLead"]})
    world.settle()
    assert world.columns("contact", contact, "jobtitle") == ("Allowed",)
    assert world.columns("lead", lead, "jobtitle", "address1_city") == ("Buyer", None)
    assert world.errors_of(lead) == [("to_dynamics", "update", None, 1, "waiting")]
    assert world.activities_of(second, "Sync Error") == [(None, None, None)]
    world.control("dataverse", "privileges", {"user": "sync", "deny": []})
    world.let_time_pass(lead, timedelta(hours=1))
    world.settle()
    assert world.columns("lead", lead, "jobtitle", "address1_city") == ("Forbidden", "Forbidden too")
    assert world.errors_of(lead) == [("to_dynamics", "update", None, 1, "resolved")]


@deep
def test_r116_after_eight_attempts_it_is_quarantined_until_somebody_edits_it(world: CoreWorld) -> None:
    (contact, first), (lead, second) = world.take("contact"), world.take("lead")
    world.edit_person(first, title=LONG)
    world.edit_person(second, leadSource="Carrier pigeon")
    world.sync()
    for _ in range(7):
        world.let_time_pass(contact, timedelta(days=2))
        world.let_time_pass(lead, timedelta(days=2))
        world.sync()
    assert world.errors_of(contact) == [("to_dynamics", "update", "title", 8, "quarantined")]
    assert world.errors_of(lead) == [("to_dynamics", "update", "leadSource", 8, "quarantined")]
    world.let_time_pass(contact, timedelta(days=3000))
    world.let_time_pass(lead, timedelta(days=3000))
    # An edit of another field goes through and does not wake what is quarantined.
    world.edit_person(first, city="Elsewhere")
    world.settle()
    assert world.columns("contact", contact, "address1_city") == ("Elsewhere",)
    assert world.errors_of(contact) == [("to_dynamics", "update", "title", 8, "quarantined")]
    world.edit_person(first, title="Short")
    world.edit_person(second, leadSource="Web")
    world.settle()
    assert world.columns("contact", contact, "jobtitle") == ("Short",)
    assert world.columns("lead", lead, "leadsourcecode") == (8,)
    assert {error[-1] for error in (*world.errors_of(contact), *world.errors_of(lead))} == {"resolved"}


def test_a_company_that_fails_for_a_while_keeps_no_contact_from_being_created_and_getting_it_later(
    world: CoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (mover, _) = world.take_account()
    account = world.create_account(name="Slow & Co")
    contact = world.create_contact(account)
    world.move_contact(mover, account)
    down = ServerFailed("Down.", system="marketo", request="POST", code="611")
    with monkeypatch.context() as patch:
        patch.setattr(
            MarketoClient,
            "sync_companies",
            lambda client, bodies: [PersonResult(None, "skipped", down) for _ in bodies],
        )
        world.sync()
    world.sync()
    for record_id in (account, contact, mover):
        world.let_time_pass(record_id, timedelta(hours=1))
    world.settle()
    for record_id in (account, contact, mover):
        world.let_time_pass(record_id, timedelta(hours=1))
    world.settle()
    assert world.company(account, "company") == {"company": "Slow & Co"}
    for record_id in (contact, mover):
        assert world.values(world.person_of("contact", record_id), "company", "externalCompanyId") == (
            "Slow & Co", account,
        )  # fmt: skip
        assert {error[-1] for error in world.errors_of(record_id)} <= {"resolved"}
    assert {error[-1] for error in world.errors_of(account)} <= {"resolved"}


@pytest.mark.parametrize(("n", "is_applied"), sampled([(2, True), (1, True), (2, False)], 1))
def test_a_refusal_in_a_cycle_that_is_killed_is_told_once_and_the_rest_arrives(
    world: CoreWorld, n: int, is_applied: bool
) -> None:
    contact, person = world.take("contact")
    world.edit_person(person, title=LONG, city="Good edit")
    # What is known to be too long is not sent at all.
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
        working.execute("update state.columns set max_length = 4000 where system = 'dynamics' and name = 'jobtitle'")
    assert cut_at_request(world, "dynamics", "/$batch", n, is_applied=is_applied)
    world.sync()
    world.settle()
    assert world.columns("contact", contact, "jobtitle", "address1_city") == ("Buyer", "Good edit")
    assert [error[:3] for error in world.errors_of(contact)] == [("to_dynamics", "update", "title")]
    for table, what in (("changes", "field = 'city'"), ("activities", "activity_type = 'Sync Error'")):
        assert world.query(f"select count(*) from {table} where person_id_marketo = ? and {what}", person) == [(1,)]
