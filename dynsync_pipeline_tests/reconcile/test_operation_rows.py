"""Which writes a plan consists of, byte by byte, line by line (`operations.sql`), by the rows that it is about.

Each case is a record of its own. Not here: which values are written (`test_planned_write_rows.py`); plans in whole cycles.
"""

from __future__ import annotations

import re
from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import CYCLE, Put, Row, after, case, link, record, rows_of, told

FIELDS = (
    "account company name text to_marketo",
    "account size c_size integer to_marketo",
    "account site url text to_marketo",
    "lead company companyname text both",
    "lead size c_size text to_marketo",
    "lead site url text to_dynamics",
    "lead title jobtitle text both",
    "contact title c_title text both",
)
OWN: Put = ("reconcile.own_fields", {
    "lead_id": "leadKey", "contact_id": "contactKey", "person_type": "kind", "is_deleted": "flag", "created_on": "born",
    "company": "companyKey",
})  # fmt: skip
BORN = "2026-01-01T00:00:00Z"


def write(field: str = "title", system: str = "marketo", action: str = "update", **more: Any) -> Put:
    """A value to write to a lead or its person."""
    key = {"system": system, "action": action, "record_type": "lead", "dynamics_id": "L", "person_id": 1}
    how = {"json_name": field, "json_value": f'"new {field}"', "rule_code": "one_sided", "outcome": "take_dynamics"}
    return "planned_writes", key | {"field": field, "type": "text"} | how | more


def new(record_type: str = "lead", dynamics_id: str = "L", createdon: str = BORN) -> Put:
    return "new_people", {"record_type": record_type, "dynamics_id": dynamics_id, "createdon": createdon}


def behind(wanted: str | None = "lead:L", held: str | None = None, **more: Any) -> Put:
    """A lead's person who is to stand behind that company."""
    key = {"person_id": 1, "record_type": "lead", "dynamics_id": "L"}
    return "company_links", key | {"wanted_key": wanted, "held_key": held} | more


def of_company(field: str = "company", **more: Any) -> Put:
    return write(field, action="company", **more)


def held(company_key: str = "person:1", **values: Any) -> Put:
    """A company that Marketo has."""
    return "mirror.marketo_companies", {"external_company_id": company_key} | values


def waits(field: str = "companyKey", person_id: int = 1) -> Put:
    return "waiting_own_fields", {"person_id": person_id, "field": field}


def account(**values: Any) -> Put:
    return "mirror.dynamics_accounts", {"accountid": "A", "is_deleted": False} | values


def updated(*, is_new: bool = False) -> Put:
    return "updated_accounts", {"account_id": "A", "is_new": is_new}


DIFFERS: Put = ("company_differences", {"account_id": "A", "field": "company"})
LOST: Put = ("state.lost_account_values", {"account_id": "A", "field": "site"})
TO_MARKETO = ("marketo", "update", 1, None, None)
TO_DYNAMICS = ("dynamics", "update", 1, None, "E")
READ = record(etag="E")
IN_DYNAMICS = {"system": "dynamics", "json_name": "jobtitle"}
AS_LEAD = '"leadKey": "L", "kind": "Lead", "flag": false, "born": "2026-01-01T00:00:00Z"'
CREATED = ("marketo", "create", None, None, None)
OF_LEAD = ("marketo", "company", None, "lead:L", None)
OF_CONTACT = {"record_type": "contact", "dynamics_id": "C"}
OF_NEW: Row = {"person_id": None}
WHOLE = '{"companyKey": "A", "company": "Acme", "site": null, "size": 7}'
OF_ACCOUNT = ("marketo", "company", None, "A", None)
OPERATIONS = (
    # System, action, person, company, etag and body of each write.
    case([(*TO_MARKETO, '{"id": 1, "title": "new title"}')], write(), READ),
    case([(*TO_MARKETO, '{"id": 1, "city": "new city", "title": "new title"}')], write(), write("city")),
    case([(*TO_DYNAMICS, '{"jobtitle": "new title"}')], write(**IN_DYNAMICS), READ),
    case([(*TO_DYNAMICS[:4], None, '{"jobtitle": "new title"}')], write(**IN_DYNAMICS), record("contact", "L", etag="E"),
         record("lead", "M", etag="E")),
    case([(*TO_DYNAMICS, '{"jobtitle": "new title"}'), (*TO_MARKETO, '{"id": 1, "city": "new city"}')], write(**IN_DYNAMICS),
         write("city"), READ),
    case([(*TO_MARKETO, '{"id": 1, "title": "new title"}'), (*TO_MARKETO, '{"id": 1, "title": "new title"}')], write(),
         write(record_type="contact")),
    # A person to create, whatever is known of it.
    case([(*CREATED, "{" + AS_LEAD + "}")], new()),
    case([(*CREATED, "{" + AS_LEAD + ', "city": "new city"}')], new(), write("city", action="create", **OF_NEW)),
    case([(*CREATED, '{"contactKey": "C", "kind": "Contact", "flag": false, "born": "2026-01-01T00:00:00Z"}')],
         new("contact", "C")),
    case([(*CREATED, "{" + AS_LEAD + "}"), (*CREATED, '{"contactKey": "L", "kind": "Contact", "flag": false, "born": "x"}')],
         new(), new("contact", "L", "x")),
    # A lead's own company, for those who are to stand behind it.
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": "new company"}')], behind(), of_company()),
    case([("marketo", "company", 1, *OF_LEAD[3:], '{"companyKey": "lead:L", "company": "new company"}')], behind(), of_company(),
         link(), link(2, "contact", "L")),
    case([], of_company()),
    case([], behind("A"), of_company()),
    case([], behind("contact:L"), of_company()),
    case([], behind("lead:M"), of_company()),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind()),
    case([], behind(), held("lead:L")),
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": "new company"}')], behind(held="lead:L"), of_company(), held("lead:L")),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}'), ("marketo", "company", None, "contact:C", None, '{"companyKey": "contact:C"}')],
         behind(), behind("contact:C", "A", **OF_CONTACT)),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind(), of_company(record_type="contact")),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind(), of_company(dynamics_id="M")),
    case([(*TO_MARKETO, '{"id": 1, "title": "new title"}'), (*OF_LEAD, '{"companyKey": "lead:L"}')], behind(), write()),
    # While its key has to wait, it is written to somebody who stands behind it already alone.
    case([], behind(), of_company(), waits()),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind(), waits("flag")),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind(), waits(person_id=2)),
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": "new company"}')], behind(held="A"), of_company(), waits()),
    # It takes along what its person held without a key; a new person's takes nothing along from the one before.
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": "was", "size": 5}')], behind(), held(company="was", size="5")),
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": "new company", "size": 5}')], behind(), of_company(),
         held(company="was", size="5")),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind(held="A"), held(company="was")),
    case([(*OF_LEAD, '{"companyKey": "lead:L"}')], behind(), held("person:2", company="was")),
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": null, "size": null}')], behind(**OF_NEW)),
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": "new company", "size": null}')], behind(**OF_NEW), of_company()),
    case([(*OF_LEAD, '{"companyKey": "lead:L", "company": null, "size": null}')], behind(**OF_NEW), held(company="was")),
    case([("marketo", "company", None, "contact:C", None, '{"companyKey": "contact:C"}')],
         behind("contact:C", **OF_CONTACT | OF_NEW)),
    # An account's whole row, where it is new or anything differs.
    case([(*OF_ACCOUNT, WHOLE)], updated(is_new=True), account(name="Acme", c_size="7")),
    case([(*OF_ACCOUNT, WHOLE)], updated(), DIFFERS, account(name="Acme", c_size="7")),
    case([], updated(), account(name="Acme", c_size="7")),
    case([], DIFFERS, account(name="Acme", c_size="7")),
    case([(*OF_ACCOUNT, '{"companyKey": "A", "company": "Acme", "size": 7}')], updated(), DIFFERS,
         account(name="Acme", c_size="7"), LOST),
)  # fmt: skip


def body_of(number: int, body: str) -> str:
    """A body with ids as its case tells them."""
    return re.sub(rf'([:"])([A-Z]){number}"', r'\1\2"', body).replace(f'"id": {number * 100 + 1}', '"id": 1')


def test_each_record_is_written_to_once_in_each_system_with_all_of_its_values() -> None:
    with after("reconcile/operations", OWN, *rows_of(OPERATIONS), fields=FIELDS) as connection:
        found = connection.execute(
            "select dynamics_id, system, action, person_id, company_key, etag, body from reconcile.operations order by all"
        ).fetchall()
        for number, each in enumerate(OPERATIONS):
            mine = [(told(number, [tuple(row)]), body) for *row, body in found]
            writes = [(*row[0][1:], body_of(number, body)) for row, body in mine if row]
            assert sorted(writes, key=str) == sorted(each.expected, key=str), each
        numbered = connection.execute(
            "select count(*), count(distinct operation_id), min(cycle_id), max(cycle_id) from reconcile.operations"
        ).fetchall()
        assert numbered == [(len(found), len(found), CYCLE, CYCLE)]


def test_companies_are_written_before_the_people_who_are_to_stand_behind_them() -> None:
    rows = write(), new(), write(**IN_DYNAMICS), behind(), of_company()
    with after("reconcile/operations", OWN, *rows, fields=FIELDS) as connection:
        found = connection.execute("select system, action from reconcile.operations order by operation_id").fetchall()
        assert found == [("dynamics", "update"), ("marketo", "company"), ("marketo", "create"), ("marketo", "update")]


SHOWN = {"base_shown": "base", "dynamics_shown": "D", "marketo_shown": "M", "value": "v", "base_value": "b"}


def shown(outcome: str = "take_dynamics", **more: Any) -> Put:
    return write(**SHOWN | {"outcome": outcome} | more)


VALUES = (
    # Old and new value, what is sent, the base then; base, both values and winner of the collision behind it.
    case((("M", "D", "v", "v"), None), shown()),
    case((("D", "M", "v", "v"), None), shown("take_marketo", **IN_DYNAMICS)),
    case((("M", "D", "v", "b"), None), shown(rule_code="undo")),
    case((("M", "D", "v", "v"), ("base", "D", "M", "dynamics")), shown("collision_dynamics_wins")),
    case((("D", "M", "v", "v"), ("base", "D", "M", "marketo")), shown("collision_marketo_wins", **IN_DYNAMICS)),
    case((("M", "D", "v", "v"), None), behind(), shown(action="company")),
    case((None, None), shown(action="company")),
)


def test_each_value_of_a_plan_is_told_with_what_it_replaces_and_whom_it_beats() -> None:
    with after("reconcile/operations", OWN, *rows_of(VALUES), fields=FIELDS) as connection:
        of = "join reconcile.operations using (operation_id)"
        changes = connection.execute(
            f"select dynamics_id, old_value, new_value, sent_value, base_after from reconcile.planned_changes {of}"
        ).fetchall()
        collisions = connection.execute(
            f"select dynamics_id, base_value, dynamics_value, marketo_value, winner from reconcile.planned_collisions {of}"
        ).fetchall()
        for number, each in enumerate(VALUES):
            change, collision = each.expected
            assert told(number, changes) == ([("L", *change)] if change else []), each
            assert told(number, collisions) == ([("L", *collision)] if collision else []), each


def misfit(code: str | None = "too_long", **more: Any) -> Put:
    key = {"record_type": "lead", "dynamics_id": "L", "field": "title", "type": "text", "most_characters": 3}
    return "new_values", key | {"misfit_code": code} | more


REFUSED = (
    case(True, new(), misfit()),
    case(False, new(), misfit(None)),
    case(False, misfit()),
    case(False, write(), misfit()),
    case(False, new(), misfit(record_type="contact")),
    case(False, new(), misfit(dynamics_id="M")),
)


def test_what_marketo_is_known_to_refuse_of_a_new_person_is_set_aside_with_the_create() -> None:
    with after("reconcile/operations", OWN, *rows_of(REFUSED), fields=FIELDS) as connection:
        found = connection.execute(
            "select dynamics_id, field, code, contains(message, 'than the 3 characters that title in Marketo') "
            "from reconcile.refused_fields join reconcile.operations using (operation_id)"
        ).fetchall()
        for number, each in enumerate(REFUSED):
            assert told(number, found) == [("L", "title", "too_long", True)] * each.expected, each
