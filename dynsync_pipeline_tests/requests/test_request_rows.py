"""What becomes of requests between the systems, line by line (the files of `requests/sql`), by the rows that they are about.

Each case is a request of its own, whose record bears its id. Not here: requests over HTTP (`../requests`).
"""

from __future__ import annotations

import re
from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Put,
    Row,
    after,
    case,
    kept_out,
    link,
    person,
    record,
    rows_of,
    told,
)

FIELDS = (
    "account company name text to_marketo",
    "lead title jobtitle text both",
    "lead city c_city text both",
    "lead company companyname text both",
    "lead rating c_rating choice both",
    "lead size c_size decimal both",
    "lead born c_born date both",
    "lead score c_score text to_marketo",
    "lead mark c_mark text to_dynamics",
    "contact title c_title text both",
)
OPTIONS = {("lead", "c_rating"): {"1": "Hot"}, ("contact", "c_rating"): {"2": "Hot"}}
VALUES = "title varchar, city varchar, company varchar, rating varchar, size varchar, born varchar, score varchar, mark varchar"
TABLES = {
    "pending_requests": "request_id varchar, person_id bigint, record_type varchar, owner_id varchar, is_fresh boolean",
    "this_serving": "cycle_id bigint, served_at timestamp, is_in_cycle boolean",
    "requesting_people": f"person_id bigint, {VALUES}",
    "sent_requests": "request_id varchar",
    "made_records": "request_id varchar, person_id bigint, record_type varchar, is_new boolean",
    "ended_requests": "request_id varchar, kind varchar, person_id bigint, record_type varchar, asked_at timestamp, "
    "door varchar, outcome_code varchar, field varchar, message varchar",
    "wished_requests": "request_id varchar, person_id bigint",
}
KEYS: Put = ("reconcile.own_fields", {
    "lead_id": "leadKey", "contact_id": "contactKey", "person_type": "kind", "is_deleted": "flag", "created_on": "born",
    "company": "companyKey",
})  # fmt: skip
KEY: Row = {"record_type": "lead", "dynamics_id": "L"}


def serving(*, is_in_cycle: bool = False) -> Put:
    return "this_serving", {"cycle_id": 7, "served_at": AT, "is_in_cycle": is_in_cycle}


def asked(*, is_fresh: bool = True, **more: Any) -> Put:
    """A request of person 1 for the record L."""
    return "pending_requests", {"request_id": "L", "person_id": 1, "record_type": "lead", "is_fresh": is_fresh} | more


def shows(**values: Any) -> Put:
    """What was read of the person."""
    return "requesting_people", {"person_id": 1} | values


def column(name: str = "jobtitle", **more: Any) -> Put:
    of = {"system": "dynamics", "record_type": "lead", "name": name, "data_type": "String", "read_at": BEFORE}
    return "state.columns", of | {"is_readable": True, "is_writable": True} | more


def stone(dynamics_id: str = "L", side: str = "dynamics", person_id: int = 9, **more: Any) -> Put:
    key = {"person_id": person_id, "record_type": "lead", "dynamics_id": dynamics_id}
    return "state.tombstones", key | {"side": side, "ended_at": BEFORE} | more


def requested(dynamics_id: str = "L") -> Put:
    return "state.requested", {"person_id": 1, "record_type": "lead", "dynamics_id": dynamics_id}


def unread(record_type: str = "person", *, has_id: bool = True) -> Put:
    return "state.unread", {
        "record_type": record_type,
        "key": "1",
        "has_id": has_id,
        "message": "no JSON",
        "attempts": 1,
    }


READY = "ready"
COLUMNS = (
    column("c_city", max_length=3),
    column("c_city", record_type="contact", max_length=1),
    column("c_city", system="marketo", record_type=None, max_length=1),
    column("c_size", precision=1),
    column("c_born", time_behavior="UserLocal"),
    column("c_title", record_type="contact", is_business_required=True),
    column("c_score", is_business_required=True),
    column("unmapped", is_business_required=True),
)
JUDGED = (
    # Verdict, lacking field, and the new record.
    case((READY, None, "{}"), asked(), shows()),
    case((READY, None, '{"jobtitle": "Boss"}'), asked(), shows(title="Boss")),
    case(None, asked(is_fresh=False), shows(title="Boss")),
    case((READY, None, '{"c_mark": "m", "jobtitle": "Boss"}'), asked(), shows(title="Boss", mark="m", score="s")),
    case((READY, None, '{"c_rating": 1}'), asked(), shows(rating="Hot")),
    case((READY, None, "{}"), asked(), shows(rating="Odd")),
    case((READY, None, '{"c_size": 2.3}'), asked(), shows(size="2.25")),
    case((READY, None, '{"c_city": "Ulm"}'), asked(), shows(city="Ulm")),
    case((READY, None, "{}"), asked(), shows(city="Kiel")),
    case((READY, None, '{"c_born": "2026-02-28T23:00:00Z"}'), asked(), shows(born="2026-03-01")),
    case((READY, None, '{"ownerid@odata.bind": "/systemusers(O)"}'), asked(owner_id="O"), shows()),
    case((READY, None, '{"jobtitle": "x", "ownerid@odata.bind": "/systemusers(O)"}'), asked(owner_id="O"), shows(title="x")),
    case(("required", "title", "{}"), asked(record_type="contact"), shows()),
    case((READY, None, '{"c_title": "x"}'), asked(record_type="contact"), shows(title="x")),
    case(("person_missing", None, "{}"), asked()),
    # Who bears the key of a record.
    case(("already_in_sync", None, "{}"), asked(), shows(), person(dynamics_lead_id="M"), record("lead", "M")),
    case(("already_in_sync", None, "{}"), asked(), shows(), person(dynamics_contact_id="M"), record("contact", "M")),
    case((READY, None, "{}"), asked(), shows(), person(dynamics_lead_id="M"), record("lead", "M", is_deleted=True)),
    case((READY, None, "{}"), asked(), shows(), person(dynamics_lead_id="M"), stone("M")),
    case(("unseen_key", None, "{}"), asked(), shows(), person(dynamics_lead_id="M")),
    case(("unseen_key", None, "{}"), asked(), shows(), person(dynamics_lead_id="M"), record("lead", "N"), stone("N")),
    case(("unseen_key", None, "{}"), asked(), shows(), person(dynamics_lead_id="M", dynamics_contact_id="N"), stone("N")),
    case(("already_in_sync", None, "{}"), asked(), shows(), person(dynamics_lead_id="M", dynamics_contact_id="N"), stone("N"),
         record("lead", "M")),
    case((READY, None, "{}"), asked(), shows(), person()),
    case((READY, None, "{}"), asked(), shows(), person(2, dynamics_lead_id="M"), record("lead", "M")),
)  # fmt: skip


def test_a_request_is_judged_by_what_its_person_holds_and_bears() -> None:
    zone: Put = ("state.user_zone", {"zone": "Europe/Berlin"})
    about = zone, *COLUMNS, *rows_of(JUDGED)
    for is_in_cycle in (False, True):
        rows = serving(is_in_cycle=is_in_cycle), *about
        with after("requests/judged_requests", *rows, fields=FIELDS, options=OPTIONS, tables=TABLES) as connection:
            found = connection.execute("select request_id, verdict, field, body from judged_requests").fetchall()
            for number, each in enumerate(JUDGED):
                mine = [(*row[1:3], re.sub(r"\(O\d+\)", "(O)", row[3])) for row in found if row[0] == f"L{number}"]
                expected = [each.expected] if each.expected else []
                if is_in_cycle and each.expected and each.expected[0] == "unseen_key":
                    expected = [(READY, *each.expected[1:])]
                assert mine == expected, each


def test_whom_nobody_could_read_waits_and_without_a_zone_values_are_sent_all_the_same() -> None:
    for rows, verdict, body in (
        ((unread(),), "unread", '{"jobtitle": "x"}'),
        ((unread("lead"),), READY, '{"jobtitle": "x"}'),
        ((unread(has_id=False),), READY, '{"jobtitle": "x"}'),
        ((column(is_business_required=True),), READY, '{"jobtitle": "x"}'),
        ((column("c_city", is_business_required=True),), "required", '{"jobtitle": "x"}'),
        ((column("c_city", is_business_required=True, system="marketo"),), READY, '{"jobtitle": "x"}'),
    ):
        about = serving(), asked(), shows(title="x"), *rows
        with after("requests/judged_requests", *about, fields=FIELDS, tables=TABLES) as connection:
            assert connection.execute("select verdict, body from judged_requests").fetchall() == [(verdict, body)], rows


def test_of_several_fields_that_dynamics_requires_the_first_is_told() -> None:
    required = column(is_business_required=True), column("c_city", is_business_required=True)
    with after(
        "requests/judged_requests", serving(), asked(), shows(mark="m"), *required, fields=FIELDS, tables=TABLES
    ) as connection:
        assert connection.execute("select verdict, field from judged_requests").fetchall() == [("required", "city")]


def test_what_is_known_of_a_request_is_said_of_its_own_record_first() -> None:
    cases = (
        case(("new", False), asked()),
        case(("linked", True), asked(), link(), requested(), stone()),
        case(("ended", False), asked(), link(2), requested()),
        case(("ended", True), asked(), link(1, "lead", "M"), link(2), requested()),
        case(("ended", False), asked(), stone(), requested()),
        case(("sent", False), asked(), requested()),
        case(("sent", True), asked(), requested(), link(1, "lead", "M")),
        case(("new", True), asked(), link(1, "lead", "M"), requested("N"), stone("N")),
    )
    with after("requests/known_requests", *rows_of(cases), tables=TABLES) as connection:
        found = connection.execute("select request_id, kind, is_linked from known_requests").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [("L", *each.expected)], each


def operation(**more: Any) -> Put:
    of: Row = {
        "operation_id": 1,
        "cycle_id": 1,
        "system": "dynamics",
        "action": "update",
        "body": "{}",
        "sent_at": BEFORE,
    }
    return "reconcile.operations", KEY | {"person_id": 1} | of | more


RECEIPT: Put = (
    "reconcile.receipts",
    {"operation_id": 1, "outcome": "applied", "received_at": BEFORE, "is_settled": True},
)
MADE = asked(), link(), record(createdon="2026-01-01T00:00:00Z"), person()
BORN = '"flag": false, "born": "2026-01-01T00:00:00Z"}'
AS_LEAD = '{"id": 1, "leadKey": "L", "kind": "Lead", ' + BORN
OF_CONTACT = asked(record_type="contact"), link(1, "contact"), record("contact", "L", createdon="2026-01-01T00:00:00Z")


def test_whoever_is_linked_to_its_new_record_is_to_bear_its_key_alone() -> None:
    both: Row = {"dynamics_lead_id": "x", "dynamics_contact_id": "y"}
    cases = (
        case([AS_LEAD], *MADE),
        case(['{"id": 1, "leadKey": "L", "contactKey": null, "kind": "Lead", ' + BORN], *MADE[:3], person(**both)),
        case([AS_LEAD], *MADE[:3], person(dynamics_lead_id="x")),
        case(['{"id": 1, "contactKey": "L", "kind": "Contact", ' + BORN], *OF_CONTACT, person(dynamics_contact_id="y")),
        case(['{"id": 1, "contactKey": "L", "leadKey": null, "kind": "Contact", ' + BORN], *OF_CONTACT, person(**both)),
        case([], *MADE[1:]),
        case([], *MADE[:1], *MADE[2:]),
        case([], asked(), link(1, "lead", "M"), *MADE[2:]),
        case([], asked(), link(2), *MADE[2:]),
        case([], *MADE[:2], MADE[3]),
        case([], *MADE[:2], record("contact", "L"), MADE[3]),
        case([], *MADE[:3]),
        # While a write to either has an unknown outcome, it waits.
        case([], *MADE, operation()),
        case([AS_LEAD], *MADE, operation(), RECEIPT),
        case([AS_LEAD], *MADE, operation(sent_at=None)),
        case([], *MADE, operation(dynamics_id="M")),
        case([], *MADE, operation(person_id=None)),
        case([AS_LEAD], *MADE, operation(person_id=2, dynamics_id="M")),
        case([AS_LEAD], *MADE, operation(person_id=None, dynamics_id="M")),
    )
    with after("requests/requested_keys", KEYS, *rows_of(cases), tables=TABLES) as connection:
        found = connection.execute("select request_id, keys from requested_keys").fetchall()
        for number, each in enumerate(cases):
            mine = [keys for request_id, keys in found if request_id == f"L{number}"]
            said = [
                keys.replace(f'"L{number}"', '"L"').replace(f'"id": {number * 100 + 1},', '"id": 1,') for keys in mine
            ]
            assert said == each.expected, each


def test_what_is_sent_is_noted_with_the_values_of_its_last_time() -> None:
    value: Row = {"field": "title", "dynamics_column": "jobtitle"}
    now: Put = ("request_values", {"request_id": "L", "value": "new", "shown": "New"} | value)
    before: Put = ("state.requested_values", {"dynamics_id": "L", "value": "old", "shown": "Old"} | value)
    sent: Put = ("sent_requests", {"request_id": "L"})
    cases = (
        case((1, ["new"]), asked(), sent, now),
        case((1, ["new"]), asked(), sent, now, requested(), before),
        case((1, []), asked(), sent, before),
        case((0, ["old"]), asked(), now, before),
        case((0, []), sent),
    )
    with after("requests/sent_requests", *rows_of(cases), fields=FIELDS, tables=TABLES) as connection:
        noted = connection.execute("select dynamics_id, person_id from state.requested").fetchall()
        values = connection.execute("select dynamics_id, value from state.requested_values").fetchall()
        for number, each in enumerate(cases):
            n_noted, held = each.expected
            assert told(number, noted) == [("L", 1)] * n_noted, each
            assert told(number, values) == [("L", each_value) for each_value in held], each


def ended(outcome: str = "created", kind: str = "lead", **more: Any) -> Put:
    of: Row = {"request_id": "L", "person_id": 1, "record_type": "lead", "asked_at": BEFORE, "door": "command"}
    return "ended_requests", of | {"kind": kind, "outcome_code": outcome} | more


def test_each_request_is_told_of_once_in_the_ledger_and_in_the_persons_log() -> None:
    entry: Row = {"entry_id": 1, "cycle_id": 1, "answered_at": BEFORE, "request_id": "L"}
    before: Put = ("ledger.requests", ended()[1] | entry)
    sync = "Sync Person to Microsoft"
    cases = (
        # Record, and what the log says.
        case(("L", [(sync, "created")]), ended()),
        case((None, [(sync, "already_in_sync")]), ended("already_in_sync")),
        case((None, [("Change Owner in Microsoft", "assigned")]), ended("assigned", "owner")),
        case((None, [("Change Owner in Microsoft", "superseded")]), ended("superseded", "owner")),
        case((None, [("Create Task in Microsoft", "withdrawn")]), ended("withdrawn", "task")),
        case((None, [(sync, "refused")]), ended("required")),
        case((None, []), ended("person_missing")),
        case(("before", []), ended(), before),
    )
    with after("requests/told_requests", serving(), *rows_of(cases), tables=TABLES) as connection:
        found = connection.execute("select request_id, dynamics_id, answered_at from ledger.requests").fetchall()
        logged = connection.execute("select person_id, activity_type, reason_code from ledger.activities").fetchall()
        for number, each in enumerate(cases):
            made, said = each.expected
            answer = ("L", None, BEFORE) if made == "before" else ("L", made, AT)
            assert told(number, found) == [answer], each
            assert told(number, logged) == [(1, *entry) for entry in said], each


def test_for_whose_record_something_is_asked_is_known_with_who_owns_it() -> None:
    wish: Put = ("wished_requests", {"request_id": "R", "person_id": 1})
    user: Put = ("mirror.dynamics_owners", {"id": "u", "is_team": False, "is_enabled": True})
    team: Put = ("mirror.dynamics_owners", {"id": "t", "is_team": True, "is_enabled": True})
    cases = (
        case(("absent", None, False), wish),
        case(("absent", None, False), wish, link(2)),
        case((READY, None, False), wish, link()),
        case((READY, "u", False), wish, link(), record(_ownerid_value="U")),
        case((READY, "t", True), wish, link(), record(_ownerid_value="T")),
        case((READY, "x", False), wish, link(), record(_ownerid_value="X")),
        case((READY, "u", False), wish, link(1, "contact"), record("contact", "L", _ownerid_value="U")),
        case((READY, None, False), wish, link(), record("lead", "M", _ownerid_value="U")),
        case(("kept_out", None, False), wish, link(), kept_out()),
        case((READY, None, False), wish, link(), kept_out("contact")),
        case(("kept_out", None, False), wish, link(), kept_out(), operation()),
        case(("uncertain", None, False), wish, link(), operation()),
        case((READY, None, False), wish, link(), operation(), RECEIPT),
        case((READY, None, False), wish, link(), operation(sent_at=None)),
        case((READY, None, False), wish, link(), operation(system="marketo")),
        case((READY, None, False), wish, link(), operation(record_type="contact")),
        case((READY, None, False), wish, link(), operation(dynamics_id="M")),
    )
    with after("requests/wished_records", user, team, *rows_of(cases), tables=TABLES) as connection:
        found = connection.execute(
            "select request_id, verdict, owner_id, is_owned_by_team from wished_records"
        ).fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [("R", *each.expected)], each


def made(*, is_new: bool = True, **more: Any) -> Put:
    return "made_records", {"request_id": "L", "person_id": 1, "record_type": "lead", "is_new": is_new} | more


def sent(field: str = "title", column: str = "jobtitle", value: str | None = "v", dynamics_id: str = "L") -> Put:
    of = {"dynamics_id": dynamics_id, "field": field, "dynamics_column": column}
    return "state.requested_values", of | {"value": value, "shown": "V"}


LINKED, RESTS, NEITHER = "linked", "rests", "neither"
HELD = record(jobtitle="v")
LINKS = (
    # Whether the person is linked, its base, and what Dynamics made of values.
    case((LINKED, [], []), made()),
    case((LINKED, [("title", "v")], []), made(), sent(), HELD),
    case((LINKED, [("title", "v")], ["w"]), made(), sent(), record(jobtitle="w")),
    case((LINKED, [("title", "v")], [None]), made(), sent(), record()),
    case((LINKED, [("title", "v")], [None]), made(), sent(), record("contact", "L", c_title="v")),
    case((LINKED, [("title", "v")], []), made(is_new=False), sent(), record(jobtitle="w")),
    case((LINKED, [], []), made(), sent(column="c_other"), HELD),
    case((LINKED, [], []), made(), sent("unknown"), HELD),
    case((LINKED, [], []), made(), sent(dynamics_id="M"), HELD),
    case((LINKED, [("company", "v")], []), made(), sent("company", "companyname"), record(companyname="v"), person()),
    case((LINKED, [], []), made(), sent("company", "companyname"), record(companyname="v"), person(external_company_id="K")),
    case((LINKED, [], []), made(), sent("company", "companyname"), record(companyname="w"), person(external_company_id="K")),
    case((LINKED, [("title", "v")], []), made(), sent(), HELD, person(external_company_id="K")),
    # Whose person is gone or linked otherwise, or whose record is another's.
    case((RESTS, [], []), made(), sent(), record(jobtitle="w"), person(is_deleted=True)),
    case((LINKED, [("title", "v")], []), made(), sent(), HELD, person(2, is_deleted=True)),
    case((RESTS, [], []), made(), sent(), HELD, link(1, "lead", "M")),
    case((NEITHER, [], []), made(), sent(), HELD, link(2)),
)  # fmt: skip


def test_a_person_is_linked_to_the_record_that_was_made_for_it_with_what_was_sent_as_the_base() -> None:
    with after("requests/requested_links", serving(), *rows_of(LINKS), fields=FIELDS, tables=TABLES) as connection:
        links = connection.execute(
            f"select person_id, dynamics_id from state.links where linked_at = timestamp '{AT}'"
        ).fetchall()
        moves = connection.execute("select person_id, field, value from state.base_moves").fetchall()
        stands = connection.execute(
            "select person_id, dynamics_value from state.standing_differences where reason_code = 'kept_by_dynamics'"
        ).fetchall()
        stones = connection.execute("select dynamics_id, side, person_id from state.tombstones").fetchall()
        kept = connection.execute(
            "select dynamics_id, field, value from state.tombstone_values order by field"
        ).fetchall()
        told_of = connection.execute("select dynamics_id, new_value, direction from ledger.changes").fetchall()
        for number, each in enumerate(LINKS):
            what, base, differences = each.expected
            assert told(number, links) == [(1, "L")] * (what == LINKED), each
            assert told(number, moves) == [(1, *value) for value in base], each
            assert told(number, stands) == [(1, value) for value in differences], each
            assert told(number, stones) == [("L", "marketo", 1)] * (what == RESTS), each
            names = ["born", "city", "company", "rating", "score", "size", "title"]
            rest = [("L", name, "v" if name == "title" else None) for name in names]
            assert told(number, kept) == rest * (what == RESTS), each
            n_told = sum(
                table == "state.requested_values" and row["dynamics_id"] == "L"
                and (row["field"], row["dynamics_column"]) in (("title", "jobtitle"), ("company", "companyname"))
                for table, row in each.rows
            )  # fmt: skip
            assert told(number, told_of) == [("L", "V", "to_dynamics")] * n_told, each
        people = sorted(person_id for person_id, _ in links)
        for query in (
            "select person_id from state.base order by all",
            "select person_id from inbox.touched where not is_receipt order by all",
            "select distinct person_id from state.unpublished where published_table = 'people' and person_id > 0 order by all",
        ):
            found = [person_id for (person_id,) in connection.execute(query).fetchall()]
            assert [each for each in found if each in people] == people, query
            assert set(found) <= set(people) or "unpublished" in query, query


def test_of_whoever_is_linked_anew_no_tombstone_of_a_record_gone_in_dynamics_is_left() -> None:
    value: Row = {"field": "title", "dynamics_column": "jobtitle", "value": "v"}
    former = {person_id: stone(f"G{person_id}", person_id=person_id) for person_id in (1, 2)}
    rows = [
        made(),
        *former.values(),
        stone("H", "marketo", 1),
        *(("state.tombstone_values", KEY | value | {"dynamics_id": of}) for of in ("G1", "G2", "H")),
        ("state.tombstone_values", KEY | value | {"dynamics_id": "G1", "record_type": "contact"}),
    ]
    with after("requests/requested_links", serving(), *rows, fields=FIELDS, tables=TABLES) as connection:
        left = connection.execute("select dynamics_id from state.tombstones order by all").fetchall()
        assert left == [("G2",), ("H",)]
        values = connection.execute(
            "select dynamics_id, record_type from state.tombstone_values order by all"
        ).fetchall()
        assert values == [("G1", "contact"), ("G2", "lead"), ("H", "lead")]


def test_a_tombstone_that_is_there_already_keeps_its_values() -> None:
    value: Row = {"field": "title", "dynamics_column": "jobtitle", "value": "old"}
    rows = (
        made(),
        sent(),
        stone(side="marketo", ended_at=AT - SECOND),
        person(is_deleted=True),
        ("state.tombstone_values", KEY | value),
    )
    with after("requests/requested_links", serving(), *rows, fields=FIELDS, tables=TABLES) as connection:
        assert connection.execute("select ended_at from state.tombstones").fetchall() == [(AT - SECOND,)]
        assert connection.execute("select value from state.tombstone_values").fetchall() == [("old",)]


def test_of_a_record_that_is_gone_in_dynamics_nothing_is_kept() -> None:
    rows = made(), sent(), stone(), person(is_deleted=True)
    with after("requests/requested_links", serving(), *rows, fields=FIELDS, tables=TABLES) as connection:
        assert connection.execute("from state.tombstone_values").fetchall() == []
