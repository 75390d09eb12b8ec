"""What contradicts a reviewed adoption file, line by line (`adoption_faults.sql`), by the rows that it is about.

Each case is a file of its own. Not here: what is proposed (`../spark/test_same_on_both.py`), and adoption as a whole
(`../adoption`).
"""

from __future__ import annotations

import re
from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import Put, after, case, link, person, record, rows_of

REVIEWED = {"reviewed": "line bigint, record_type varchar, dynamics_id varchar, person_id bigint, decision varchar"}


def line(
    decision: str = "link", number: int = 1, dynamics_id: str = "L", person_id: int | None = 1, **more: Any
) -> Put:
    of = {"line": number, "record_type": "lead", "dynamics_id": dynamics_id}
    return "reviewed", of | {"person_id": person_id if decision == "link" else None, "decision": decision} | more


def bears(person_id: int = 1, **keys: Any) -> Put:
    return person(person_id, **{f"dynamics_{record_type}_id": key for record_type, key in keys.items()})


RECORD, OTHER, OF_NOBODY = record(), record(dynamics_id="K"), person()
TWICE = (2, "the record stands in line 1 too")
OF_CONTACT = line(record_type="contact", dynamics_id="C"), record("contact", "C")
HOLDS_ANOTHER = [(1, "person 1 holds the id of another record already")]
HELD = [(1, "person 2 holds the record's id already")]
FILES = (
    # Line, and what is wrong with it.
    case([], line(), RECORD, OF_NOBODY),
    case([], line("create"), RECORD),
    case([], line("skip"), RECORD),
    case([], line("create"), line("create", 2, "K"), RECORD, OTHER),
    case([TWICE], line("create"), line("skip", 2), RECORD),
    case([TWICE, (3, "the record stands in line 1 too")], line("create"), line("skip", 2), line("skip", 3), RECORD),
    case([], line("create"), line("create", 2, record_type="contact"), RECORD, record("contact")),
    case([(1, "Dynamics has no lead L")], line("skip")),
    case([(1, "Dynamics has no lead L")], line("skip"), record(is_deleted=True)),
    case([(1, "Dynamics has no lead L")], line("skip"), record("contact", "L")),
    # What was carried out before is no fault, unless it was decided otherwise.
    case([], line(), RECORD, link()),
    case([], line("create"), RECORD, link()),
    case([(1, "the record is linked with person 1 already, which skip does not undo; remove the line")],
         line("skip"), RECORD, link()),
    case([], line("skip"), RECORD, link(1, "contact")),
    case([], line("skip"), RECORD, link(1, "lead", "K")),
    # One person, one record.
    case([(2, "person 1 stands in line 1 too")], line(), line("link", 2, "K"), RECORD, OTHER, OF_NOBODY),
    case([], line(), line("link", 2, "K", 2), RECORD, OTHER, OF_NOBODY, person(2)),
    case([(1, "Marketo has no person 1")], line(), RECORD),
    case([(1, "Marketo has no person 1")], line(), RECORD, person(is_deleted=True)),
    case([(1, "Marketo has no person 1")], line(), RECORD, person(2)),
    case([(1, "the record is linked with person 2 already")], line(), RECORD, OF_NOBODY, link(2)),
    case([], line("create"), RECORD, link(2)),
    case([(1, "person 1 is linked with lead K already")], line(), RECORD, OF_NOBODY, link(1, "lead", "K")),
    case([(1, "person 1 is linked with contact L already")], line(), RECORD, OF_NOBODY, link(1, "contact")),
    # Nobody who bears another id, and no record whose id somebody bears.
    case([], line(), RECORD, bears(lead="L")),
    case(HOLDS_ANOTHER, line(), RECORD, bears(lead="K")),
    case(HOLDS_ANOTHER, line(), RECORD, bears(lead="L", contact="C")),
    case(HOLDS_ANOTHER, line(), RECORD, bears(contact="C")),
    case([], *OF_CONTACT, OF_NOBODY),
    case([], *OF_CONTACT, bears(contact="C")),
    case(HOLDS_ANOTHER, *OF_CONTACT, bears(contact="D")),
    case(HOLDS_ANOTHER, *OF_CONTACT, bears(contact="C", lead="L")),
    case(HOLDS_ANOTHER, *OF_CONTACT, bears(lead="L")),
    case([(1, "person 1 is linked with lead K already")], line(), RECORD, bears(lead="K"), link(1, "lead", "K")),
    case(HELD, line(), RECORD, OF_NOBODY, bears(2, lead="L")),
    case(HELD, line("create"), RECORD, bears(2, lead="L")),
    case(HELD, line("skip"), RECORD, bears(2, lead="L")),
    case([], line("skip"), RECORD, bears(2, contact="L")),
    case([], line("create"), RECORD, bears(2, lead="L"), link(2)),
    case(HELD, line("create"), RECORD, bears(2, lead="L"), link(2, "contact")),
    case(HELD, line("create"), RECORD, bears(2, lead="L"), link(2, "lead", "K")),
)  # fmt: skip


def _without_number(text: str) -> str:
    """Ids of people and lines as the case tells them, and those of records."""
    return re.sub(r"\b[0-9]+", lambda found: str(int(found[0]) % 100), re.sub(r"\b([A-Z])[0-9]+", r"\1", text))


def test_a_reviewed_line_is_told_what_contradicts_it() -> None:
    with after("reconcile/adoption_faults", *rows_of(FILES), tables=REVIEWED) as connection:
        found = connection.execute("select line, fault from adoption_faults order by all").fetchall()
        for number, each in enumerate(FILES):
            faults = [(n % 100, _without_number(fault)) for n, fault in found if n // 100 == number]
            assert faults == each.expected, each
