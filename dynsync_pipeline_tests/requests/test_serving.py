"""A person of Marketo becomes a record in Dynamics because somebody asks for it (R71 to R77, R82, R83).

Not here: what a cut leaves, or a store or working file that was lost (`test_cut_serving.py`).
"""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.errors import AccessDenied, RecordExists, RequestRefused, ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.requests import RequestWorld
from dynsync_pipeline_tests.worlds.rows import Values

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


def test_a_person_becomes_a_record_with_its_values_and_both_then_agree(world: RequestWorld) -> None:
    values = {
        "title": "O'Brien 😀 مرحبا",
        "doNotCall": "true",
        "revenue": "12.5",
        "birth": "1980-02-03",
        "rating": "Hot",
        "topics": "Cold;Hot",
        "source": "web",
        "leadScore": "7",
    }
    people = {record_type: world.person(**values) for record_type in (LEAD, CONTACT)}
    requests = {record_type: world.ask(person_id, record_type) for record_type, person_id in people.items()}
    world.cycle()
    for record_type, person_id in people.items():
        check_made(world, record_type, requests[record_type], person_id)
    n_writes = len(world.dynamics.writes), len(world.marketo.writes)
    plan = world.cycle()
    assert plan is not None
    assert plan.n_operations == plan.n_collisions == 0
    assert (len(world.dynamics.writes), len(world.marketo.writes)) == n_writes
    assert world.errors() == []


def check_made(world: RequestWorld, record_type: RecordType, request_id: str, person_id: int) -> None:
    """The record of these values, the person that bears its key, the link, and what the request was told."""
    record = world.dynamics.rows[record_type, request_id].values
    assert {name: record.get(name) for name in ("jobtitle", "donotphone", "new_revenue", "birthdate", "new_rating")} == {
        "jobtitle": "O'Brien 😀 مرحبا", "donotphone": "true", "new_revenue": "12.5", "birthdate": "1980-02-03", "new_rating": "1",
    }  # fmt: skip
    assert record.get("new_topics") == "1,3"
    assert record.get("mkt_leadscore") == "7"
    assert "new_source" not in record
    person = world.marketo.rows[person_id].values
    key, other = (KEYS.contact_id, KEYS.lead_id) if record_type is CONTACT else (KEYS.lead_id, KEYS.contact_id)
    assert (person[key], person.get(other)) == (request_id, None)
    assert person[KEYS.person_type] == record_type.value.capitalize()
    assert person[KEYS.created_on] == record["createdon"]
    assert world.rows("select person_id from state.links where dynamics_id = ?", request_id) == [(person_id,)]
    assert world.base(person_id, "title") == "O'Brien 😀 مرحبا"
    assert world.log_of(person_id) == [("created", None)]
    assert world.request(request_id).outcome == "created"


@story
def test_an_edit_afterwards_goes_its_way_as_of_any_link(world: RequestWorld) -> None:
    person_id = world.person(title="Boss", phone="1")
    world.ask(person_id, LEAD)
    world.cycle()
    world.marketo.put(person_id, title="Chief")
    world.cycle()
    assert world.both(person_id, "title") == ("Chief", "Chief")


@story
def test_what_dynamics_fills_in_by_itself_goes_to_marketo(world: RequestWorld) -> None:
    person_id = world.person(title="Boss")
    put = world.dynamics.put

    def fills_in(record_type: RecordType, record_id: str, /, **values: str | None) -> None:
        put(record_type, record_id, **{"telephone1": "default", "new_source": "CRM", **values})

    world.dynamics.put = fills_in  # type: ignore[method-assign]
    world.ask(person_id, LEAD)
    world.cycle()
    world.dynamics.put = put  # type: ignore[method-assign]
    world.settled()
    assert world.both(person_id, "phone") == ("default", "default")
    assert world.both(person_id, "source") == ("CRM", "CRM")


@story
def test_what_dynamics_makes_of_a_value_stands_as_a_difference(world: RequestWorld) -> None:
    person_id = world.person(title="boss")
    world.dynamics.keeps = lambda name, value: value.upper() if name == "jobtitle" and value else value
    world.ask(person_id, LEAD)
    world.settled()
    assert world.both(person_id, "title") == ("BOSS", "boss")
    assert world.standing() == [(person_id, "title", "BOSS", "boss")]
    assert world.ledger()["collisions"] == []


@story
def test_a_value_that_its_column_cannot_hold_stays_behind_and_is_reported(world: RequestWorld) -> None:
    world.dynamics.lengths["jobtitle"] = 3
    world.follow(world.fields)
    person_id = world.person(title="too long", phone="1", rating="Nonsense")
    request_id = world.ask(person_id, LEAD)
    world.cycle()
    assert world.dynamics.rows[LEAD, request_id].values.get("telephone1") == "1"
    world.cycle()
    assert sorted((row[1], row[3]) for row in world.errors()) == [("rating", "unknown_option"), ("title", "too_long")]


def test_whoever_is_linked_or_queued_is_left_alone_and_told_so(world: RequestWorld) -> None:
    ((linked,),) = world.rows("select person_id from state.links")
    person_id = world.person(title="Boss")
    requests = [world.ask(linked, CONTACT), world.ask(person_id, LEAD), world.ask(person_id, CONTACT)]
    n_records = len(world.dynamics.rows)
    world.cycle()
    assert [world.request(each).outcome for each in requests] == ["already_in_sync", "created", "already_in_sync"]
    assert len(world.dynamics.rows) == n_records + 1
    assert world.log_of(linked) == [("already_in_sync", None)]
    assert sorted(world.log_of(person_id)) == [("already_in_sync", None), ("created", None)]


def test_a_person_that_marketo_does_not_show_is_nobody(world: RequestWorld) -> None:
    request_id = world.ask(4711)
    world.cycle()
    assert world.request(request_id).outcome == "person_missing"
    assert world.rows("select outcome_code, dynamics_id from ledger.requests") == [("person_missing", None)]


@story
def test_what_dynamics_calls_required_is_asked_for_before_anything_is_sent(world: RequestWorld) -> None:
    world.dynamics.limits["jobtitle"] = {"is_business_required": True}
    world.follow(world.fields)
    person_id = world.person(phone="1")
    request_id = world.ask(person_id)
    world.cycle()
    assert (world.request(request_id).outcome, world.request(request_id).field) == ("required", "title")
    assert world.log_of(person_id) == [("refused", "title")]
    world.marketo.put(person_id, title="Boss")
    again = world.ask(person_id)
    world.cycle()
    assert world.request(again).outcome == "created"


@story
def test_a_refusal_stands_on_the_person_with_its_field_and_ends_the_request(world: RequestWorld) -> None:
    person_id = world.person(phone="x")
    refusal = RequestRefused("phone?", system="dynamics", request="PATCH", code="0x80040203", field="telephone1")
    world.dynamics.refuses = lambda key, values: refusal if values.get("telephone1") == "x" else None
    request_id = world.ask(person_id)
    world.cycle()
    assert (world.request(request_id).outcome, world.request(request_id).field) == ("refused", "telephone1")
    assert world.log_of(person_id) == [("refused", "telephone1")]
    assert world.rows("select * from state.requested") == []


def test_a_duplicate_by_another_key_is_refused_and_never_linked(world: RequestWorld) -> None:
    person_id = world.person(phone="x")
    duplicate = RecordExists("a record with this key", system="dynamics", request="PATCH", code="0x80040237")
    world.dynamics.refuses = lambda key, values: duplicate
    request_id = world.ask(person_id)
    world.cycle()
    assert world.request(request_id).outcome == "refused"
    assert world.rows("select * from state.links where person_id = ?", person_id) == []


def test_the_owner_is_one_enabled_user(world: RequestWorld) -> None:
    world.dynamics.user_names = {"u1": "Ann", "u2": "Bob", "u3": "Bob"}
    people = [world.person(phone=str(n)) for n in range(4)]
    world.allow(default_owner="Ann")
    wanted = [None, "Ann", "Bob", "Nobody"]
    requests = [world.ask(person, owner=owner) for person, owner in zip(people, wanted, strict=True)]
    world.cycle()
    assert [world.request(each).outcome for each in requests] == [
        "created",
        "created",
        "owner_unknown",
        "owner_unknown",
    ]
    bound = [world.dynamics.rows[LEAD, each].values["ownerid@odata.bind"] for each in requests[:2]]
    assert bound == ["/systemusers(u1)", "/systemusers(u1)"]


def test_whose_record_was_deleted_in_dynamics_gets_a_new_one(world: RequestWorld) -> None:
    """Of either type, whatever the one of before was."""
    ((first,),) = world.rows("select person_id from state.links")
    people = {LEAD: first, CONTACT: world.link(LEAD, "l2", title="Boss")}
    world.settled()
    for record_id in ("l1", "l2"):
        world.dynamics.delete(LEAD, record_id)
    world.settled()
    for person_id in people.values():
        assert world.marketo.rows[person_id].values[KEYS.is_deleted] == "true"
        world.marketo.put(person_id, title="Edited alone")
    requests = {record_type: world.ask(person_id, record_type) for record_type, person_id in people.items()}
    world.settled()
    for record_type, person_id in people.items():
        values = world.marketo.rows[person_id].values
        assert values[KEYS.is_deleted] == "false"
        keys = {LEAD: values.get(KEYS.lead_id), CONTACT: values.get(KEYS.contact_id)}
        assert keys == {LEAD: None, CONTACT: None} | {record_type: requests[record_type]}
        assert world.both(person_id, "title") == ("Edited alone", "Edited alone")
        assert world.base(person_id, "title") == "Edited alone"
    assert world.rows("select * from state.tombstones") == []


@story
def test_one_poisoned_request_holds_up_no_other(world: RequestWorld) -> None:
    people = [world.person(phone=str(n)) for n in range(5)]
    write = world.dynamics.write

    def poisoned(table, columns, writes):  # type: ignore[no-untyped-def]
        if any('"3"' in each.body for each in writes):
            raise ServerFailed("500", system="dynamics", request="POST")
        return write(table, columns, writes)

    world.dynamics.write = poisoned  # type: ignore[method-assign]
    requests = [world.ask(person) for person in people]
    for _ in range(2):
        world.cycle()
    assert [world.request(each).outcome for each in requests] == ["created"] * 3 + [None, "created"]
    world.dynamics.write = write  # type: ignore[method-assign]
    world.cycle()
    assert world.request(requests[3]).outcome == "created"


@story
def test_keys_that_marketo_does_not_take_follow_later_and_blame_nobody(world: RequestWorld) -> None:
    person_id = world.person(phone="1")

    def refuses(key: str, values: Values) -> RequestRefused | None:
        return RequestRefused("no", system="marketo", request="POST", code="1006") if KEYS.lead_id in values else None

    world.marketo.refuses = refuses
    request_id = world.ask(person_id)
    world.cycle()
    assert (world.request(request_id).state, world.request(request_id).outcome) == ("linked", "created")
    world.marketo.refuses = lambda key, values: None
    world.settled()
    assert world.marketo.rows[person_id].values[KEYS.lead_id] == request_id
    assert world.request(request_id).state == "ended"
    assert [row[3] for row in world.errors()] == []


@story
def test_an_owner_that_dynamics_will_not_be_asked_about_holds_up_no_other(world: RequestWorld) -> None:
    users = world.dynamics.users

    def asked(name: str) -> list[str]:
        if name == "Poison":
            raise RequestRefused("no such filter", system="dynamics", request="GET")
        if name == "Denied":
            raise AccessDenied("no right", system="dynamics", request="GET")
        return users(name)

    world.dynamics.users = asked  # type: ignore[method-assign]
    requests = [world.ask(world.person(phone="1"), owner=owner) for owner in ("Poison", "Denied", None)]
    world.cycle()
    assert [world.request(each).outcome for each in requests] == ["refused", None, "created"]


@story
def test_a_right_that_is_missing_is_no_fault_of_the_person(world: RequestWorld) -> None:
    request_id = world.ask(world.person(phone="1"))
    world.dynamics.refuses = lambda key, values: AccessDenied("no create", system="dynamics", request="PATCH")
    world.cycle()
    assert world.request(request_id).outcome is None
    world.dynamics.refuses = lambda key, values: None
    world.cycle()
    assert world.request(request_id).outcome == "created"


@story
def test_a_clock_that_was_set_back_puts_nobody_off(world: RequestWorld) -> None:
    world.clock += timedelta(hours=6)
    request_id = world.ask(world.person(phone="1"))
    world.clock -= timedelta(hours=6)
    world.cycle()
    assert world.request(request_id).outcome == "created"


@story
def test_an_entry_just_before_the_first_look_at_a_list_asks_once(world: RequestWorld) -> None:
    person_id = world.person(phone="1")
    world.marketo.add_to_list(7, person_id)
    world.allow(lead_list=7)
    for _ in range(2):
        world.cycle()
        world.clock += timedelta(minutes=-4)
    assert world.log_of(person_id) == [("created", None)]


@story
def test_a_request_for_a_stale_person_does_nothing_and_a_new_record_may_be_kept_out_at_once(
    world: RequestWorld,
) -> None:
    """Its record is there, only the filter rests it (R73, R92). A new record counts by its own filter, such as its default."""
    ((stale,),) = world.rows("select person_id from state.links")
    world.dynamics.put(LEAD, "l1", new_synctomkto="false", jobtitle="B")
    request_id = world.ask(stale)
    world.settled()
    assert world.request(request_id).outcome == "already_in_sync"
    assert (world.dynamics.writes, world.both(stale, "title")) == ([], ("B", "Boss"))
    person_id = world.person(title="A")
    request_id = world.ask(person_id)
    world.cycle()
    world.dynamics.put(LEAD, request_id, new_synctomkto="false", jobtitle="C")
    world.settled()
    assert world.both(person_id, "title") == ("C", "A")
    assert len(world.marketo.bearers(KEYS.lead_id, request_id)) == 1
    world.dynamics.put(LEAD, request_id, new_synctomkto="true")
    world.settled()
    assert world.both(person_id, "title") == ("C", "C")
