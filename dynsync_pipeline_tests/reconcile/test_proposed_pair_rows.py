"""What an adoption proposes for each record without a person, line by line (`proposed_pairs.sql`), by the rows that it is about.

Each case has people and records of its own. Not here: the file that people review, and applying it (`../adoption`).
"""

from __future__ import annotations

from string import ascii_lowercase

from dynsync_pipeline_tests.worlds.rule_rows import BEFORE, Id, Put, after, case, in_words, link, rows_of, told

SHOWN = {
    "people_shown": "person_id bigint, dynamics_contact_id varchar, dynamics_lead_id varchar, email varchar, name varchar",
    "records_shown": "record_type varchar, dynamics_id varchar, email varchar, name varchar",
    "held_ids": "person_id bigint, id_field varchar, dynamics_id varchar",
}


def person(person_id: int = 1, email: str | None = None, **keys: str) -> Put:
    of = {"person_id": person_id, "email": email and Id(email), "name": f"Person {ascii_lowercase[person_id]}"}
    return "people_shown", of | keys


def record(dynamics_id: str = "C", email: str | None = None, record_type: str = "contact") -> Put:
    of = {"record_type": record_type, "dynamics_id": dynamics_id, "email": email and Id(email), "name": "Record"}
    return "records_shown", of


def lead(dynamics_id: str = "L", email: str | None = None) -> Put:
    return record(dynamics_id, email, "lead")


def holds(dynamics_id: str = "C", person_id: int = 1, id_field: str = "crmId") -> Put:
    return "held_ids", {"person_id": person_id, "id_field": id_field, "dynamics_id": dynamics_id}


def tombstone(record_type: str = "contact", dynamics_id: str = "C") -> Put:
    of = {"person_id": 9, "record_type": record_type, "dynamics_id": dynamics_id}
    return "state.tombstones", of | {"side": "marketo", "ended_at": BEFORE}


def decided(decision: str, person_id: int | None = None, record_type: str = "contact", dynamics_id: str = "C") -> Put:
    of = {"record_type": record_type, "dynamics_id": dynamics_id, "person_id": person_id, "decision": decision}
    return "state.adoption", of | {"decided_at": BEFORE}


NO_ADDRESS, NOBODY = "it has no e-mail address to compare", "nobody in Marketo has its e-mail address"
SHARED = "several people have its e-mail address: 1, 2"
SEVERAL = "person 1 holds the ids of several records"
CONTACT_TOO = "person 1 holds the id of a contact too, which counts more (R25)"
OF_SEVERAL = "person 1 has the e-mail address of several records: "
TAKEN = "person 1, who has its e-mail address, belongs to another record"
CLAIMING = "person 1, who has its e-mail address, holds the id of another record"
Proposed = tuple[str, str, int | None, str, str, str | None]


def create(reason: str, of: str = "C") -> Proposed:
    return of, "create", None, "none", reason, None


def skip(reason: str, of: str = "C") -> Proposed:
    return of, "skip", None, "unclear", reason, None


def linked(match: str, of: str = "C", person_id: int = 1) -> Proposed:
    return of, "link", person_id, match, "", f"Person {ascii_lowercase[person_id]}"


BY_ID, BY_MAIL = "id in crmId", "e-mail address"
A = person(1, "a@x")
MANY = tuple(person(n, "a@x") for n in range(1, 13)), tuple(record(f"C{letter}", "a@x") for letter in "kjihgfedcba")
TEN = ", ".join(f"contact C{letter}" for letter in "abcdefghij")
PROPOSED = (
    # Who holds its id.
    case([linked(BY_ID)], person(), record(), holds()),
    case([linked(BY_ID, "L")], person(), lead(), holds("L")),
    case([linked("id in alphaId")], person(), record(), holds(), holds(id_field="alphaId")),
    case([linked(BY_ID)], person(), person(2, "a@x"), record("C", "a@x"), holds()),
    case([linked(BY_ID)], person(), person(2, "a@x"), person(3, "a@x"), record("C", "a@x"), holds()),
    case([linked(BY_ID), linked(BY_ID, "L", 2)], person(), person(2), record(), lead(), holds(), holds("L", 2)),
    case([skip("several people hold its id: 1, 2")], person(), person(2), record(), holds(), holds(person_id=2)),
    case([skip("several people hold its id: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10")], record(), *MANY[0],
         *(holds(person_id=n) for n in range(12, 0, -1))),
    case([skip(SEVERAL), skip(SEVERAL, "D")], person(), record(), record("D"), holds(), holds("D")),
    case([skip(SEVERAL, "L"), skip(SEVERAL, "M")], person(), lead(), lead("M"), holds("L"), holds("M")),
    case([linked(BY_ID), skip(CONTACT_TOO, "L")], person(), record(), lead(), holds(), holds("L")),
    case([linked(BY_ID), skip(CONTACT_TOO, "L"), skip(CONTACT_TOO, "M")], person(), record(), lead(), lead("M"), holds(),
         holds("L"), holds("M")),
    case([skip(SEVERAL), skip(SEVERAL, "D"), skip(CONTACT_TOO, "L")], person(), record(), record("D"), lead(), holds(),
         holds("D"), holds("L")),
    case([skip("several people hold its id: 1, 2", "L"), linked(BY_ID)], person(), person(2), record(), lead(), holds("L"),
         holds("L", 2), holds()),
    case([create(NO_ADDRESS)], record(), holds()),
    case([create(NO_ADDRESS)], person(), record(), holds("D")),
    case([create(NO_ADDRESS)], person(1, dynamics_lead_id="L"), record(), holds()),
    case([create(NO_ADDRESS)], person(1, dynamics_contact_id="D"), record(), holds()),
    case([create(NO_ADDRESS)], person(), link(1, "lead", "L"), record(), holds()),
    # Who has its e-mail address.
    case([linked(BY_MAIL)], A, record("C", "a@x")),
    case([linked(BY_MAIL)], A, record("C", " A@X")),
    case([linked(BY_MAIL)], person(1, " A@X"), record("C", "a@x")),
    case([linked(BY_MAIL, "L")], A, lead("L", "a@x")),
    case([linked(BY_MAIL, person_id=2)], person(), person(2, "a@x"), record("C", "a@x"), person(3, "b@x")),
    case([skip(SHARED)], A, person(2, "a@x"), record("C", "a@x")),
    case([skip("several people have its e-mail address: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10")], *MANY[0][::-1],
         record("C", "a@x")),
    case([skip(f"{OF_SEVERAL}contact C, lead L"), skip(f"{OF_SEVERAL}contact C, lead L", "L")], A, lead("L", "a@x"),
         record("C", "a@x")),
    case([skip(OF_SEVERAL + TEN, f"C{letter}") for letter in "abcdefghijk"], A, *MANY[1]),
    case([skip(f"{OF_SEVERAL}contact C, lead L", "L")], A, lead("L", "a@x"), record("C", "a@x"), link(9, "contact", "C")),
    case([create(NOBODY), create(NOBODY, "D")], record("C", "a@x"), record("D", "a@x")),
    case([skip(SHARED), skip(SHARED, "D")], A, person(2, "a@x"), record("C", "a@x"),
        record("D", "a@x")),
    case([skip(TAKEN)], A, link(1, "lead", "L"), record("C", "a@x")),
    case([skip(TAKEN)], person(1, "a@x", dynamics_contact_id="D"), record("C", "a@x")),
    case([skip(TAKEN)], person(1, "a@x", dynamics_lead_id="L"), record("C", "a@x")),
    case([skip(CLAIMING), linked(BY_ID, "L")], A, record("C", "a@x"), lead(), holds("L")),
    case([linked(BY_MAIL)], A, record("C", "a@x"), holds("M")),
    case([create(NOBODY)], A, record("C", "b@x")),
    case([create(NOBODY)], person(), record("C", "b@x")),
    case([create(NO_ADDRESS)], A, record()),
    # Records that somebody bears, or bore, are not asked of.
    case([], A, record("C", "a@x"), link(9, "contact", "C")),
    case([], A, record("C", "a@x"), tombstone()),
    case([], A, record("C", "a@x"), person(2, dynamics_contact_id="C")),
    case([], A, lead("L", "a@x"), person(2, dynamics_lead_id="L")),
    case([linked(BY_MAIL)], A, record("C", "a@x"), link(9, "lead", "C"), tombstone("lead"), tombstone("contact", "D"),
         person(2, dynamics_lead_id="C")),
    case([linked(BY_MAIL, "L")], A, lead("L", "a@x"), person(2, dynamics_contact_id="L")),
    # What somebody decided stays, until it was carried out.
    case([("C", "create", None, BY_MAIL, "decided before", None)], A, record("C", "a@x"), decided("create")),
    case([("C", "link", 2, BY_MAIL, "decided before", "Person c")], A, person(2), record("C", "a@x"), decided("link", 2)),
    case([("C", "link", 1, "none", f"decided before; {NO_ADDRESS}", "Person b")], person(), record(), decided("link", 1)),
    case([("C", "skip", None, "unclear", f"decided before; {TAKEN}", None)], A, link(), record("C", "a@x"), decided("skip")),
    case([linked(BY_MAIL)], A, record("C", "a@x"), decided("linked", 2)),
    case([linked(BY_MAIL)], A, record("C", "a@x"), decided("skip", None, "lead")),
    case([linked(BY_MAIL)], A, record("C", "a@x"), decided("skip", None, "contact", "D")),
)  # fmt: skip


def test_a_record_gets_the_one_person_who_holds_its_id_or_else_its_address_and_what_is_unclear_is_left() -> None:
    with after("reconcile/proposed_pairs", *rows_of(PROPOSED), tables=SHOWN) as connection:
        found = connection.execute(
            "select dynamics_id, decision, person_id, match, person_name, reason from proposed_pairs order by dynamics_id"
        ).fetchall()
    for number, each in enumerate(PROPOSED):
        mine = [(*row, in_words(reason)) for *of, reason in found for row in told(number, [of])]
        assert mine == sorted((*row[:4], row[5], row[4]) for row in each.expected), each


def test_people_see_whom_and_what_they_decide_on() -> None:
    rows = person(1, " A@X"), record("C", "a@x"), person(2, " "), lead("L", " ")
    with after("reconcile/proposed_pairs", *rows, tables=SHOWN) as connection:
        shown = "record_type, record_name, record_email, person_name, person_email"
        found = connection.execute(f"select {shown} from proposed_pairs order by all").fetchall()
    assert found == [("contact", "Record", "a@x", "Person b", " A@X"), ("lead", "Record", " ", None, None)]
