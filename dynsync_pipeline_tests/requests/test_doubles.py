"""Looking for doubles by e-mail before a record is made: told with the answer, and never linked (R76)."""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import field_map
from dynsync_pipeline_tests.worlds.requests import RequestWorld

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("email,emailaddress1,text,both,true", "title,jobtitle,text,both,true")


def test_records_with_the_same_address_are_told_with_the_answer_and_linked_to_nobody() -> None:
    world = RequestWorld(FIELDS)
    for record_type, record_id, email in (
        (CONTACT, "c1", "Ann@Example.com"), (LEAD, "l1", "ann@example.com"), (LEAD, "gone", "ann@example.com"),
        (LEAD, "other", "bob@example.com"), *((CONTACT, f"m{n}", "many@example.com") for n in range(7)),
        (CONTACT, "none", None),
    ):  # fmt: skip
        world.link(record_type, record_id, email=email)
    world.settled()
    world.dynamics.delete(LEAD, "gone")
    world.settled()

    def answer(email: str | None) -> tuple[str | None, str | None]:
        request_id = world.ask(world.person(email=email, title="New"))
        world.cycle()
        found = world.request(request_id)
        assert world.rows("select count(*) from state.links where dynamics_id = ?", request_id) == [(1,)]
        return found.outcome, found.message

    assert answer("ann@example.com") == ("created", None), "nobody asked for it"
    world.allow(report_doubles=True)
    outcome, message = answer("ANN@example.com")
    assert outcome == "created"
    assert message is not None
    assert "contact c1, lead " in message and "lead l1" in message
    assert "gone" not in message and "example" not in message
    assert answer("new@example.com") == ("created", None)
    assert answer(None) == ("created", None)
    told = answer("many@example.com")[1]
    assert told is not None
    assert told.endswith("contact m0, contact m1, contact m2, contact m3, contact m4 and 2 more.")
    assert world.rows("select count(*) from ledger.requests where message = ?", told) == [(1,)]
    assert world.settled() == 0
