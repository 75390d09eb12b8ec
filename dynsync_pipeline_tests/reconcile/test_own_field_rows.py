"""What is written to the fields that the sync owns on a person, line by line (`own_field_writes.sql`), by the rows that it is
about.

Each case is a person of its own. Not here: what people do to these fields, in whole cycles (`test_own_fields.py`,
`test_altered_keys.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    SECOND,
    Id,
    Put,
    after,
    case,
    kept_out,
    link,
    person,
    record,
    rows_of,
    told,
    touched,
)

FIELDS = ("lead title jobtitle text both", "contact title c_title text both")
KEYS: Put = ("reconcile.own_fields", {
    "lead_id": "leadKey", "contact_id": "contactKey", "person_type": "kind", "is_deleted": "flag", "created_on": "born",
    "company": "companyKey",
})  # fmt: skip
STEP = "reconcile/own_field_writes"
LEAD = {"record_type": "lead", "dynamics_id": "L"}
CONTACT = {"record_type": "contact", "dynamics_id": "C"}
TOUCHED = touched(person_id=1)
WRITES = "select person_id, field, old_value, new_value, rule_code from own_field_writes order by all"


def waits(field: str | None, code: str | None = "1003", next_look_at: Any = AT + SECOND, **more: Any) -> Put:
    """A field of the person that is not settled."""
    of = LEAD | {"person_id": 1, "attempts": 1, "since": BEFORE, "reason_code": "refused"}
    return "state.unsettled", of | {"field": field, "code": code, "next_look_at": next_look_at} | more


def behind(wanted: str | None = "K", held: str | None = None, flag: str | None = None, **more: Any) -> Put:
    """The company that a person is to stand behind, the one that it stands behind, and the flag that it bears."""
    key = LEAD | {"person_id": 1}
    return "company_links", key | {"wanted_key": wanted, "held_key": held, "is_deleted_in_dynamics": flag} | more


TO_COMPANY = [("companyKey", None, "K", "company_of_record")]
BACK = [("flag", "true", "false", "back_in_dynamics")]
COMPANIES = (
    case(TO_COMPANY, behind()),
    case([("companyKey", "J", "K", "company_of_record")], behind(held="J")),
    case([("companyKey", "J", None, "company_of_record")], behind(None, "J")),
    case([], behind(held="K")),
    case([], behind(None)),
    case(BACK, behind(None, flag="true")),
    case([], behind(None, flag="false")),
    case(sorted(TO_COMPANY + BACK), behind(flag="true")),
    # What was refused waits, of that value.
    case([], behind(), waits("companyKey", dynamics_value=Id("K"))),
    case(TO_COMPANY, behind(), waits("companyKey", dynamics_value=Id("J"))),
    case(TO_COMPANY, behind(), waits("companyKey", next_look_at=AT, dynamics_value=Id("K"))),
    case(TO_COMPANY, behind(), waits("flag", dynamics_value=Id("K"))),
    case(TO_COMPANY, behind(), waits("companyKey", dynamics_value=Id("K"), person_id=2)),
    case(TO_COMPANY, behind(), waits("companyKey", dynamics_value=Id("K"), person_id=None)),
    case(TO_COMPANY, behind(), waits("companyKey", "own_field_altered", dynamics_value=Id("K"))),
    case(TO_COMPANY, behind(), waits("companyKey", "key_altered", dynamics_value=Id("K"))),
    case([], behind(), waits("companyKey", None, dynamics_value=Id("K"))),
    case([], behind(None, flag="true"), waits("flag")),
    case(BACK, behind(None, flag="true"), waits("companyKey")),
    case(BACK, behind(None, flag="true"), waits("flag", person_id=2)),
)  # fmt: skip


def test_a_person_is_put_behind_its_company_and_bears_no_flag_while_its_record_lives() -> None:
    with after(STEP, KEYS, *rows_of(COMPANIES), fields=FIELDS) as connection:
        found = connection.execute(WRITES).fetchall()
        for number, each in enumerate(COMPANIES):
            assert told(number, found) == [(1, *row) for row in each.expected], each


def test_a_new_person_is_put_behind_its_company_with_its_create() -> None:
    cases = (
        case(["K"], behind(person_id=None)),
        case([], behind(None, person_id=None)),
        case([], behind("K", "K", person_id=None)),
    )
    with after(STEP, KEYS, *rows_of(cases), fields=FIELDS) as connection:
        found = connection.execute(
            "select dynamics_id, new_value, field, rule_code from own_field_writes where person_id is null"
        ).fetchall()
        for number, each in enumerate(cases):
            written = [("L", key, "companyKey", "new_in_dynamics") for key in each.expected]
            assert told(number, found) == written, each


def test_only_own_fields_of_people_that_are_not_due_wait() -> None:
    rows = waits("flag"), waits("title"), waits("kind", person_id=None), waits("born", next_look_at=AT)
    with after(STEP, KEYS, *rows, fields=FIELDS) as connection:
        assert connection.execute("select person_id, field from waiting_own_fields").fetchall() == [(1, "flag")]


def stone(side: str = "dynamics", person_id: int = 1, record_type: str = "lead", dynamics_id: str = "L") -> Put:
    key = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.tombstones", key | {"side": side, "ended_at": BEFORE}


def unread(key: str, record_type: str = "person", *, has_id: bool = True) -> Put:
    return "state.unread", {
        "record_type": record_type,
        "key": key,
        "has_id": has_id,
        "message": "no JSON",
        "attempts": 1,
    }


GONE = stone(), person()
FLAGGED = (
    # Whether a person is flagged whose record is gone in Dynamics.
    case(True, *GONE, TOUCHED),
    case(False, *GONE),
    case(True, *GONE, waits(None, next_look_at=AT)),
    case(False, *GONE, waits(None)),
    case(False, stone("marketo"), person(), TOUCHED),
    case(False, stone("merged"), person(), TOUCHED),
    case(False, stone(), person(is_deleted=True), TOUCHED),
    case(False, stone(), TOUCHED),
    case(False, stone(), person(is_deleted_in_dynamics="true"), TOUCHED),
    case(True, stone(), person(is_deleted_in_dynamics="false"), TOUCHED),
    case(False, *GONE, TOUCHED, link(1, "contact", "C")),
    case(True, *GONE, TOUCHED, link(2)),
    case(False, *GONE, TOUCHED, waits("flag")),
    case(True, *GONE, TOUCHED, waits("kind")),
    case(True, *GONE, TOUCHED, waits("flag", person_id=2)),
    case(True, *GONE, touched(person_id=2), TOUCHED),
)  # fmt: skip


def test_a_person_whose_record_is_gone_in_dynamics_is_flagged() -> None:
    with after(STEP, KEYS, *rows_of(FLAGGED), fields=FIELDS) as connection:
        found = connection.execute(WRITES).fetchall()
        for number, each in enumerate(FLAGGED):
            assert told(number, found) == [(1, "flag", "false", "true", "deleted_in_dynamics")] * each.expected, each
    for key, kind, has_id, n_flagged in (
        ("1", "person", True, 0),
        ("1", "person", False, 1),
        ("1", "lead", True, 1),
        ("2", "person", True, 1),
    ):
        rows = unread(key, kind, has_id=has_id), *GONE, TOUCHED
        with after(STEP, KEYS, *rows, fields=FIELDS) as connection:
            assert len(connection.execute(WRITES).fetchall()) == n_flagged, (key, kind, has_id)


BEARS = person(dynamics_contact_id="C", dynamics_lead_id="L", dynamics_type="Contact")
WAS_LEAD = link(1, "contact", "C"), BEARS, TOUCHED
CLEARED = (
    # By which rule the person of a contact bears its lead's id no more.
    case("qualified", *WAS_LEAD, stone("qualified")),
    case("merged_in_marketo", *WAS_LEAD, stone("merged")),
    case("qualified", *WAS_LEAD, stone("qualified", 2)),
    case(None, *WAS_LEAD),
    case(None, *WAS_LEAD, stone("marketo")),
    case(None, *WAS_LEAD, stone("dynamics", 2)),
    case(None, *WAS_LEAD, stone("qualified", record_type="contact")),
    case(None, *WAS_LEAD, stone("qualified", dynamics_id="M")),
    case(None, link(1, "lead", "C"), BEARS, TOUCHED, stone("qualified")),
    case(None, BEARS, TOUCHED, stone("qualified")),
    case(None, link(1, "contact", "C"), BEARS, stone("qualified")),
    case("qualified", link(1, "contact", "C"), BEARS, stone("qualified"), waits(None, next_look_at=AT)),
    case(None, link(1, "contact", "C"), BEARS, stone("qualified"), waits(None)),
    case(None, link(1, "contact", "C"), person(dynamics_contact_id="C", dynamics_lead_id="L", is_deleted=True), TOUCHED,
         stone("qualified")),
    case(None, *WAS_LEAD, stone("qualified"), kept_out("contact", "C")),
    case("qualified", *WAS_LEAD, stone("qualified"), kept_out("lead", "C")),
    case("qualified", *WAS_LEAD, stone("qualified"), kept_out("contact", "D")),
    case(None, *WAS_LEAD, stone("qualified"), unread("C", "contact")),
    case(None, *WAS_LEAD, stone("qualified"), waits("leadKey")),
    case("qualified", *WAS_LEAD, stone("qualified"), waits("flag")),
    case("qualified", *WAS_LEAD, stone("qualified"), waits("leadKey", person_id=2)),
)  # fmt: skip


def test_the_person_of_a_contact_bears_the_id_of_its_lead_no_more() -> None:
    with after(STEP, KEYS, *rows_of(CLEARED), fields=FIELDS) as connection:
        found = connection.execute(
            "select person_id, field, old_value, new_value, rule_code from own_field_writes order by all"
        ).fetchall()
        for number, each in enumerate(CLEARED):
            assert told(number, found) == (
                [] if each.expected is None else [(1, "leadKey", "L", None, each.expected)]
            ), each


BORN = "2026-01-01T00:00:00Z"
COMPARED: Put = ("compared_links", LEAD | {"person_id": 1})
SHOWN = record(createdon=BORN)


def bears(key: str | None = "L", kind: str | None = "Lead", born: str | None = BORN, **more: Any) -> Put:
    return person(dynamics_lead_id=key, dynamics_type=kind, dynamics_created_on=born, **more)


def key_put_back(old: str | None, code: str = "key_put_back") -> list[tuple[Any, ...]]:
    return [("leadKey", old, "L", code)]


KIND, LINKED = [("kind", "x", "Lead", "own_field_put_back")], [("kind", None, "Lead", "linked_by_key")]
EMPTY = [("kind", None, "Lead", "own_field_put_back")]
UNLIKE = COMPARED, SHOWN
ALTERED = (
    # What is put back of a lead's person, and by which rule.
    case([], *UNLIKE, bears()),
    case(key_put_back(None), *UNLIKE, bears(None)),
    case(key_put_back("X"), *UNLIKE, bears("X")),
    case(KIND, *UNLIKE, bears(kind="x")),
    case(EMPTY, *UNLIKE, bears(kind=None)),
    case([("born", "then", BORN, "own_field_put_back")], *UNLIKE, bears(born="then")),
    case([("born", None, BORN, "own_field_put_back")], *UNLIKE, bears(born=None)),
    case([], COMPARED, record(), bears(born="then")),
    case([("born", None, BORN, "own_field_put_back"), ("kind", "x", "Lead", "own_field_put_back"), *key_put_back(None)], *UNLIKE,
         bears(None, "x", None)),
    case([], SHOWN, bears(None)),
    case([], COMPARED, bears(None)),
    case([], COMPARED, record("contact", "L", createdon=BORN), bears(None)),
    case([], *UNLIKE),
    case([("contactKey", None, "C", "key_put_back"), ("kind", "Lead", "Contact", "own_field_put_back")],
         ("compared_links", CONTACT | {"person_id": 1}), record("contact", "C", createdon=BORN), bears("C")),
    case([], ("compared_links", CONTACT | {"person_id": 1}), record("contact", "C", createdon=BORN),
         bears("x", "Contact", dynamics_contact_id="C")),
    # What Marketo refused waits.
    case([], *UNLIKE, bears(kind="x"), waits("kind")),
    case(KIND, *UNLIKE, bears(kind="x"), waits("born")),
    case(KIND, *UNLIKE, bears(kind="x"), waits("kind", person_id=2)),
    case(KIND, *UNLIKE, bears(kind="x"), waits("kind", next_look_at=AT)),
    # Why it was another.
    case(key_put_back("X", "merged_in_marketo"), *UNLIKE, bears("X"), stone("merged", dynamics_id="X")),
    case(key_put_back("X", "qualified"), *UNLIKE, bears("X"), stone("qualified", dynamics_id="X")),
    case(key_put_back("X"), *UNLIKE, bears("X"), stone("marketo", dynamics_id="X")),
    case(key_put_back("X"), *UNLIKE, bears("X"), stone("merged", 2, dynamics_id="X")),
    case(key_put_back("X"), *UNLIKE, bears("X"), stone("merged", record_type="contact", dynamics_id="X")),
    case(key_put_back("X"), *UNLIKE, bears("X"), stone("merged", dynamics_id="Y")),
    case([("contactKey", None, "C", "merged_in_marketo"), ("kind", "Lead", "Contact", "merged_in_marketo")],
         ("compared_links", CONTACT | {"person_id": 1}), record("contact", "C", createdon=BORN), bears(), stone("merged", 2)),
    case([("contactKey", None, "C", "key_put_back"), ("kind", "Lead", "Contact", "own_field_put_back")],
         ("compared_links", CONTACT | {"person_id": 1}), record("contact", "C", createdon=BORN), bears(),
         stone("merged", 2, "contact", "L")),
    case(key_put_back("X", "new_in_marketo"), *UNLIKE, bears("X"), ("state.requested", LEAD | {"person_id": 1})),
    case(key_put_back("X"), *UNLIKE, bears("X"), ("state.requested", LEAD | {"person_id": 2})),
    case(key_put_back(None, "linked_by_key"), *UNLIKE, bears(None), ("state.unkeyed_links", LEAD | {"person_id": 1})),
    case(key_put_back("X"), *UNLIKE, bears("X"), ("state.unkeyed_links", LEAD | {"person_id": 1})),
    case(key_put_back(None), *UNLIKE, bears(None), ("state.unkeyed_links", LEAD | {"person_id": 2})),
    case(LINKED, *UNLIKE, bears(kind=None), ("found_links", {"person_id": 1})),
    case(EMPTY, *UNLIKE, bears(kind=None), ("found_links", {"person_id": 2})),
    case(KIND, *UNLIKE, bears(kind="x"), ("found_links", {"person_id": 1})),
    case(LINKED, *UNLIKE, bears(kind=None), ("filter_turns", LEAD | {"is_let_in": True})),
    case(EMPTY, *UNLIKE, bears(kind=None), ("filter_turns", LEAD | {"is_let_in": False})),
    case(EMPTY, *UNLIKE, bears(kind=None), ("filter_turns", LEAD | {"record_type": "contact", "is_let_in": True})),
    case(LINKED, *UNLIKE, bears(kind=None), waits("kind", next_look_at=AT)),
    case(LINKED, *UNLIKE, bears(kind=None), waits("kind", None, AT)),
    case(EMPTY, *UNLIKE, bears(kind=None), waits("kind", "own_field_altered", AT)),
    case(EMPTY, *UNLIKE, bears(kind=None), waits("kind", "key_altered", AT)),
    case(EMPTY, *UNLIKE, bears(kind=None), waits("born", next_look_at=AT)),
)  # fmt: skip


def test_key_type_and_creation_date_of_a_linked_person_are_put_back_and_it_is_known_why() -> None:
    with after(STEP, KEYS, *rows_of(ALTERED), fields=FIELDS) as connection:
        found = connection.execute(WRITES).fetchall()
        for number, each in enumerate(ALTERED):
            assert [row[1:] for row in told(number, found)] == each.expected, each


def error(code: str = "own_field_altered", field: str = "kind", seen: Any = AT - SECOND, **more: Any) -> Put:
    """It was told before that the field was altered."""
    of = LEAD | {
        "error_id": 1,
        "cycle_id": 1,
        "happened_at": BEFORE,
        "attempts": 1,
        "message": "m",
        "operation": "update",
    }
    how = {"direction": "to_marketo", "state": "resolved", "field": field, "code": code, "last_seen_at": seen}
    return "ledger.sync_errors", of | how | more


WEEK = timedelta(days=7)
X = *UNLIKE, bears(kind="x")
AGAIN = (
    # Whether what was put back before and did not stay waits, and the error that told of it.
    case((False, None), *X),
    case((True, 1), *X, error()),
    case((False, 1), *X, error(seen=AT - timedelta(minutes=5))),
    case((True, 1), *X, error(seen=AT - timedelta(minutes=5) + SECOND)),
    case((True, 1), *X, error(seen=AT - timedelta(minutes=9), attempts=2)),
    case((False, 1), *X, error(seen=AT - timedelta(minutes=10), attempts=2)),
    case((True, 2), *X, error(), error(error_id=2)),
    case((False, None), *X, error("key_altered")),
    case((False, None), *X, error("other")),
    case((False, None), *X, error(field="born")),
    case((False, None), *X, error(dynamics_id="M")),
    case((False, None), *X, error(record_type="contact")),
    case((False, None), *X, error(seen=AT - WEEK)),
    case((False, 1), *X, error(seen=AT - WEEK + SECOND)),
    # Where it is not settled, that says when to look.
    case((True, 1), *X, error(seen=AT - WEEK), waits("kind", "own_field_altered")),
    case((False, 1), *X, error(), waits("kind", "own_field_altered", AT)),
    case((False, None), *X, error(), waits("kind", "1003", AT)),
    case((True, 1), *X, error(), waits("born", "own_field_altered", AT)),
    case((True, 1), *X, error(), waits("kind", "own_field_altered", AT, person_id=2)),
    # Of a key it is another code.
    case((True, 1), *UNLIKE, bears("X"), error("key_altered", "leadKey")),
    case((False, None), *UNLIKE, bears("X"), error(field="leadKey")),
)  # fmt: skip


def test_what_was_put_back_and_did_not_stay_waits_for_its_next_look() -> None:
    with after(STEP, KEYS, *rows_of(AGAIN), fields=FIELDS) as connection:
        found = connection.execute("select person_id, is_waiting, error_id from altered_own_fields").fetchall()
        writes = {person_id for person_id, *_ in connection.execute(WRITES).fetchall()}
        for number, each in enumerate(AGAIN):
            assert told(number, found) == [(1, *each.expected)], each
            assert (number * 100 + 1 in writes) is not each.expected[0], each


K = Id("K")


def wrote(value: str | None = K, field: str = "companyKey", entry_id: int = 1, **more: Any) -> Put:
    """Our write of an own field."""
    of = LEAD | {"cycle_id": 1, "changed_at": AT - SECOND, "direction": "to_marketo", "person_id": 1, "rule_code": "x"}
    return "ledger.changes", of | {"entry_id": entry_id, "field": field, "new_value": value} | more


ONCE = (
    # Whether it is written again, so soon, what was written before.
    case(False, behind()),
    case(True, behind(), wrote()),
    case(False, behind(), wrote(Id("J"))),
    case(False, behind(), wrote(), wrote(Id("J"), entry_id=2)),
    case(True, behind(), wrote(Id("J")), wrote(entry_id=2)),
    case(True, behind(None, "J"), wrote(None)),
    case(False, behind(None, "J"), wrote(Id("J"))),
    case(False, behind(), wrote(field="flag")),
    case(False, behind(), wrote(person_id=2)),
    case(False, behind(), wrote(direction="to_dynamics")),
    case(False, behind(), wrote(changed_at=AT - WEEK)),
    case(True, behind(), wrote(changed_at=AT - WEEK + SECOND)),
)


def test_whoever_is_written_the_same_again_within_a_week_is_told_of() -> None:
    with after(STEP, KEYS, *rows_of(ONCE), fields=FIELDS) as connection:
        found = connection.execute("select person_id, is_again from wanted_own_fields").fetchall()
        codes = connection.execute("select person_id, error_code from altered_own_fields").fetchall()
        for number, each in enumerate(ONCE):
            assert told(number, found) == [(1, each.expected)], each
            assert told(number, codes) == [(1, "own_field_altered" if each.expected else None)], each
