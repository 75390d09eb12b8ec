"""Behind which company each person is to stand and what differs between accounts and companies, line by line
(`company_links.sql`, `company_differences.sql`, `foreign_companies.sql`), by the rows that they are about.

Each case is a person or an account of its own. Not here: what an account's change does to its people
(`test_fan_out_rows.py`); the same over HTTP (`../accounts`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline_tests.worlds.rule_rows import (
    AT,
    BEFORE,
    LOOKED_AT,
    SECOND,
    THIS_CYCLE,
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

FIELDS = (
    "account company name text to_marketo",
    "account box c_box boolean to_marketo",
    "account site url text to_marketo",
    "lead company companyname text both",
    "lead box c_box boolean both",
    "lead title jobtitle text both",
    "contact title c_title text both",
)
BY_PERSON, BY_RECORD = touched(person_id=1), touched(record_type="lead", dynamics_id="L")


def company(key: str, **values: Any) -> Put:
    return "mirror.marketo_companies", {"external_company_id": key} | values


def account(account_id: str = "a", **values: Any) -> Put:
    return "mirror.dynamics_accounts", {"accountid": account_id, "is_deleted": False} | values


def updated(*, is_new: bool = True) -> Put:
    return "updated_accounts", {"account_id": "a", "is_new": is_new}


def waits(record_type: str = "lead", dynamics_id: str = "L", **more: Any) -> Put:
    of = {"record_type": record_type, "dynamics_id": dynamics_id, "attempts": 1, "since": BEFORE, "next_look_at": AT}
    return "state.unsettled", of | more


def unread(record_type: str, key: str) -> Put:
    what = {"record_type": record_type, "key": key, "has_id": True}
    return "state.unread", what | {"message": "no JSON", "attempts": 1}


def contact(parent: str | None = "a", **values: Any) -> Put:
    return record("contact", "C", _parentcustomerid_value=parent, **values)


LEAD = link(), person(), record()
TEXT = link(), person(), record(companyname="Acme")
OF_CONTACT = link(1, "contact", "C"), person()
HELD = link(1, "contact", "C"), person(external_company_id="K")
A_LEAD, A_CONTACT = ("lead", "L"), ("contact", "C")
LINKS = (
    # Person, company that it is to stand behind, and the one that it stands behind.
    case([(1, None, None)], *LEAD, BY_PERSON),
    case([(1, None, None)], *LEAD, BY_RECORD),
    case([(1, None, None)], *LEAD, BY_PERSON, BY_RECORD),
    case([], *LEAD),
    case([], *LEAD, touched(record_type="contact", dynamics_id="L")),
    case([], *LEAD, touched(record_type="lead", dynamics_id="M")),
    case([(1, None, None)], *LEAD, waits(person_id=1)),
    case([], *LEAD, waits()),
    case([], *LEAD, waits(person_id=1, next_look_at=AT + SECOND)),
    case([], link(), person(is_deleted=True), record(), BY_PERSON),
    case([], link(), record(), BY_PERSON),
    case([], *LEAD, BY_PERSON, kept_out()),
    case([(1, None, None)], *LEAD, BY_PERSON, kept_out("contact")),
    case([(1, None, None)], *LEAD, BY_PERSON, kept_out("lead", "M")),
    case([], *LEAD, BY_PERSON, ("doubled", {"person_id": 1})),
    case([], *LEAD, BY_PERSON, unread("lead", "L")),
    # Of a new company all contacts that are there.
    case([(1, "a", None)], *OF_CONTACT, contact(), account(), updated()),
    case([], *OF_CONTACT, contact(), account(), updated(is_new=False)),
    case([], *OF_CONTACT, contact("b"), account(), updated()),
    case([], link(1, "lead", "C"), person(), contact(), account(), updated()),
    # A lead with company text of its own on either side; a checkbox that nobody set is none.
    case([(1, "lead:L", None)], *TEXT, BY_PERSON),
    case([(1, "lead:L", None)], *LEAD, BY_PERSON, company("person:1", company="Acme")),
    case([(1, "lead:L", None)], *LEAD, BY_PERSON, company("lead:L")),
    case([(1, "lead:L", "K")], link(), person(external_company_id="K"), record(companyname="Acme"), BY_PERSON),
    case([(1, "lead:L", "K")], link(), person(external_company_id="K"), record(), BY_PERSON, company("lead:L")),
    case([(1, "K", "K")], link(), person(external_company_id="K"), record(), BY_PERSON),
    case([(1, "K", "K")], link(), person(external_company_id="K"), record(), BY_PERSON, company("person:1", company="Acme")),
    case([(1, None, None)], link(), person(), record(jobtitle="Boss"), BY_PERSON),
    case([(1, None, None)], link(), person(), record(c_box="false"), BY_PERSON),
    case([(1, "lead:L", None)], link(), person(), record(c_box="true"), BY_PERSON),
    case([(1, "lead:L", None)], link(), person(), record(companyname="false"), BY_PERSON),
    case([(1, None, None)], *LEAD, BY_PERSON, company("person:1", box="false")),
    case([(1, None, None)], *LEAD, BY_PERSON, company("person:1", site="x")),
    case([(1, None, None)], *LEAD, BY_PERSON, company("person:2", company="Acme")),
    case([(1, None, None)], *LEAD, BY_PERSON, company("contact:L", company="Acme")),
    case([(1, None, None)], *LEAD, BY_PERSON, record("lead", "M", companyname="Acme")),
    # A contact behind its account's, while somebody is behind that; else behind an empty one, if it had another.
    case([(1, "a", None)], *OF_CONTACT, contact(), account(), BY_PERSON),
    case([(1, "a", "K")], *HELD, contact(), account(), BY_PERSON),
    case([(1, None, None)], *OF_CONTACT, contact(None), account(), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, contact(None), account(), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, contact("b"), account(), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, contact(), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, contact(), account(is_deleted=True), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, contact(), account(statecode="1"), BY_PERSON),
    case([(1, "a", "K")], *HELD, contact(), account(statecode="0"), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, contact(), account(), kept_out("account", "a"), BY_PERSON),
    case([(1, "a", "K")], *HELD, contact(), account(), kept_out("contact", "a"), BY_PERSON),
    case([(1, "a", "K")], *HELD, contact(), account(is_deleted=True), company("a"), BY_PERSON),
    case([(1, "a", "K")], *HELD, contact(), account(statecode="1"), company("a"), BY_PERSON),
    case([(1, "a", "K")], *HELD, contact(), account(), kept_out("account", "a"), company("a"), BY_PERSON),
    case([(1, "contact:C", "K")], *HELD, record("lead", "C"), record("contact", "D", _parentcustomerid_value="a"), account(),
         BY_PERSON),
    case([(1, None, None)], *OF_CONTACT, contact(None), BY_PERSON, company("lead:C"), company("person:1", company="Acme"),
         record("lead", "C", companyname="Acme")),
)  # fmt: skip


def test_a_contact_stands_behind_its_accounts_company_and_a_lead_behind_one_of_its_own() -> None:
    step = "reconcile/company_links"
    with after(step, *rows_of(LINKS), fields=FIELDS) as connection:
        for _ in ("all records were looked at before", "none was"):
            found = connection.execute(
                "select person_id, wanted_key, held_key from company_links where person_id is not null"
            ).fetchall()
            for number, each in enumerate(LINKS):
                assert told(number, found) == each.expected, each
            connection.execute(f"delete from {LOOKED_AT}")
            run_steps(connection, (step,))


NEW: Put = ("new_people", {"record_type": "lead", "dynamics_id": "L"})
NEW_CONTACT: Put = ("new_people", {"record_type": "contact", "dynamics_id": "C"})
NEWCOMERS = (
    case(("L", None), NEW, record()),
    case(("L", "lead:L"), NEW, record(companyname="Acme")),
    case(("L", None), NEW, record(), company("person:1", company="Acme"), link(1), person()),
    case(("C", "a"), NEW_CONTACT, contact(), account()),
    case(("C", None), NEW_CONTACT, contact(), account(is_deleted=True)),
    case(("C", None), NEW_CONTACT, contact(None), record("lead", "C", companyname="Acme")),
)


def test_a_new_person_stands_behind_its_company_from_the_beginning() -> None:
    with after("reconcile/company_links", *rows_of(NEWCOMERS), fields=FIELDS) as connection:
        found = connection.execute(
            "select dynamics_id, wanted_key from company_links where person_id is null and held_key is null"
        ).fetchall()
        for number, each in enumerate(NEWCOMERS):
            assert told(number, found) == [each.expected], each


BY_ACCOUNT = touched(record_type="account", dynamics_id="a")
RELABELLED: Put = ("state.relabelled_accounts", {"account_id": "a"})


def edited(company_key: str = "a", field: str = "company", before: str | None = "Old") -> Put:
    """Somebody edited the company in Marketo."""
    return "state.local_company_edits", {"external_company_id": company_key, "field": field, "value_before": before}


def of_account(next_look_at: Any = AT, **more: Any) -> Put:
    return waits("account", "a", next_look_at=next_look_at, **more)


DUE = (
    # Whether an account is applied, and whether Marketo has its company.
    case([("a", True)], account(), BY_ACCOUNT),
    case([("a", False)], account(), BY_ACCOUNT, company("a")),
    case([("a", True)], account(), BY_ACCOUNT, of_account(), RELABELLED),
    case([("a", True)], account(), of_account()),
    case([("a", True)], account(), RELABELLED),
    case([("a", True)], account(), RELABELLED, edited("b")),
    case([], account(), RELABELLED, edited()),
    case([("a", True)], account(), BY_ACCOUNT, RELABELLED, edited()),
    case([], account()),
    case([], account(), touched(record_type="lead", dynamics_id="a")),
    case([], account(), of_account(AT + SECOND)),
    case([], account(), waits("lead", "a")),
    case([], account(is_deleted=True), BY_ACCOUNT),
    case([], account(statecode="1"), BY_ACCOUNT),
    case([("a", True)], account(statecode="0"), BY_ACCOUNT),
    case([], BY_ACCOUNT),
    case([], account(), BY_ACCOUNT, unread("account", "a")),
    case([], account(), BY_ACCOUNT, unread("company", "a")),
    case([("a", True)], account(), BY_ACCOUNT, unread("lead", "a")),
    case([], account(), BY_ACCOUNT, kept_out("account", "a")),
    case([("a", True)], account(), BY_ACCOUNT, kept_out("lead", "a")),
)


def test_an_account_is_applied_where_it_was_updated_or_is_due_as_long_as_it_is_active() -> None:
    behind: Put = ("state.refused_links", {"stream": "dynamics_contacts", "read_anew_at": BEFORE, "is_behind": True})
    with after("reconcile/company_differences", *rows_of(DUE), fields=FIELDS) as connection:
        found = connection.execute("select account_id, is_new from updated_accounts").fetchall()
        for number, each in enumerate(DUE):
            assert told(number, found) == each.expected, each
    for stream, n_due in (("dynamics_contacts", 1), ("dynamics_accounts", 0)):
        waiting = (behind[0], behind[1] | {"stream": stream, "waits_because": "x"})
        with after("reconcile/company_differences", account(), BY_ACCOUNT, waiting, fields=FIELDS) as connection:
            assert len(connection.execute("from due_accounts").fetchall()) == n_due, stream


RETURNED: tuple[Put, ...] = (
    ("state.returned_fields", {"record_type": "account", "field": "site"}),
    ("state.returned_fields", {"record_type": "lead", "field": "company"}),
)
LOST: Put = ("state.lost_account_values", {"account_id": "a", "field": "site"})
DIFFERENCES = (
    # Field, Marketo's value, Dynamics' value and why; and of which fields the account's value was lost.
    case(([("company", "Old", "New", "account_changed")], []), account(name="New"), company("a", company="Old"), BY_ACCOUNT),
    case(([("company", None, "New", "account_changed")], []), account(name="New"), BY_ACCOUNT),
    case(([("company", "Old", None, "account_changed")], []), account(), company("a", company="Old"), BY_ACCOUNT),
    case(([], []), account(name="New"), company("a", company="New"), BY_ACCOUNT),
    case(([], []), account(name="New"), company("a", company="Old")),
    case(([], []), account(), account("b", name="New"), company("b", company="Old"), BY_ACCOUNT, company("a")),
    case(([("box", "false", "true", "account_changed")], []), account(c_box="true"), company("a"), BY_ACCOUNT),
    case(([], []), account(c_box="false"), company("a"), BY_ACCOUNT),
    # Where it was a local edit, that is overridden.
    case(([("company", "Edit", "Old", "account_reapplied")], []), account(name="Old"), company("a", company="Edit"), BY_ACCOUNT,
         edited()),
    case(([("company", "Edit", None, "account_reapplied")], []), account(), company("a", company="Edit"), BY_ACCOUNT,
         edited(before=None)),
    case(([("company", "Edit", "New", "account_changed")], []), account(name="New"), company("a", company="Edit"), BY_ACCOUNT,
         edited()),
    case(([("company", "Edit", "Old", "account_changed")], []), account(name="Old"), company("a", company="Edit"), BY_ACCOUNT,
         edited(field="site")),
    case(([("company", "Edit", "Old", "account_changed")], []), account(name="Old"), company("a", company="Edit"), BY_ACCOUNT,
         edited("b")),
    case(([], []), account(), BY_ACCOUNT, edited(before=None), company("a")),
    # A column that comes back has lost its values, until it holds one.
    case(([], ["site"]), account(), company("a", site="x"), BY_ACCOUNT),
    case(([], ["site"]), account(), company("a", site="x"), BY_ACCOUNT, LOST),
    case(([("site", "x", "y", "account_changed")], []), account(url="y"), company("a", site="x"), BY_ACCOUNT, LOST),
    case(([("site", "x", "y", "account_changed")], []), account(url="y"), company("a", site="x"), BY_ACCOUNT),
    case(([], ["site"]), account(url="y"), company("a", site="x"), LOST),
    case(([], []), account(), company("a", site="x")),
    case(([("company", "Old", None, "account_changed")], ["site"]), account(), company("a", company="Old"), BY_ACCOUNT, LOST),
)  # fmt: skip


def test_marketos_company_takes_what_the_account_holds_but_for_what_a_column_lost() -> None:
    with after("reconcile/company_differences", *RETURNED, *rows_of(DIFFERENCES), fields=FIELDS) as connection:
        names = "account_id, field, old_value, new_value, reason_code"
        found = connection.execute(
            f"select {names} from company_differences where field <> 'box' or old_value = 'false'"
        )
        rows = found.fetchall()
        lost = connection.execute("select account_id, field from state.lost_account_values").fetchall()
        for number, each in enumerate(DIFFERENCES):
            differences, fields = each.expected
            assert told(number, rows) == [("a", *difference) for difference in differences], each
            assert told(number, lost) == [("a", field) for field in fields], each


def waited(field: str = "company", *, is_approved: bool = False, marketo: str | None = "Old", **more: Any) -> Put:
    """An account's value that waits until somebody approves, or was approved."""
    asked = {"approval_id": 1, "cause": "field", "cause_name": "asked", "n_people": 9, "asked_at": BEFORE}
    of = {"record_type": "account", "dynamics_id": "a", "field": field, "direction": "to_marketo"}
    values = {"dynamics_value": "New", "marketo_value": marketo, "approved_at": AT if is_approved else None}
    return "state.approvals", asked | of | values | more


def staff(n: int, *, is_deleted: bool = False, first: int = 1) -> tuple[Put, ...]:
    """So many people behind the company."""
    return tuple(person(first + k, external_company_id="a", is_deleted=is_deleted) for k in range(n))


CHANGED = account(name="New"), company("a", company="Old"), BY_ACCOUNT
BIG = *CHANGED, *staff(4)
OTHER_ACCOUNT = (
    account("b", name="New"),
    company("b", company="Old"),
    touched(record_type="account", dynamics_id="b"),
    person(7, external_company_id="b"),
    person(8, external_company_id="b"),
)
ABOVE_3: Put = ("this_cycle", THIS_CYCLE[1] | {"ask_above": 3})
FIRST_LOAD: Put = ("this_cycle", ABOVE_3[1] | {"is_first_load": True})
BY_SIZE = [("company", 4, "account", "a", False)]
ASKED = (
    # Field, how many it reaches, the cause and its name, and whether it waited already, where more than three are reached.
    case(BY_SIZE, *BIG),
    case([], *CHANGED),
    case([("company", 4, "account", "a", False), ("site", 4, "account", "a", False)], account(name="New", url="u"),
         company("a", company="Old"), BY_ACCOUNT, *staff(4)),
    # One that was approved is let through; one that waits stays so, for its reason; of another value it is asked anew.
    case([], *BIG, waited(is_approved=True)),
    case([("company", 9, "field", "asked", True)], *BIG, waited()),
    case([("company", 9, "field", "asked", True)], *CHANGED, *staff(1), waited()),
    case(BY_SIZE, *BIG, waited(marketo="Older")),
    case(BY_SIZE, *BIG, waited(dynamics_value="Newer")),
    case(BY_SIZE, *BIG, waited("site")),
    case(BY_SIZE, *BIG, waited(dynamics_id="b")),
    case(BY_SIZE, *BIG, waited(record_type="lead")),
    case([("company", 9, "field", "asked", True)], account(name="New"), company("a"), BY_ACCOUNT, *staff(4),
         waited(marketo=None)),
    # What is tried again was let through before.
    case([], account(name="New"), company("a", company="Old"), of_account(reason_code="refused"), *staff(4)),
    case(BY_SIZE, account(name="New"), company("a", company="Old"), of_account(reason_code="waiting_for_approval"), *staff(4)),
    case(BY_SIZE, *BIG, of_account(reason_code="refused")),
    case(BY_SIZE, account(name="New"), company("a", company="Old"), of_account(), RELABELLED, *staff(4),
         waits("lead", "a", reason_code="refused")),
    case([], account(name="New"), company("a", company="Old"), of_account(reason_code="refused"), *staff(4),
         touched(record_type="lead", dynamics_id="a")),
    case([("company", 4, "account", "a", False), ("site", 4, "account", "a", True)], account(name="New", url="u"),
         company("a", company="Old"), BY_ACCOUNT, *staff(4), waited("site", marketo=None, dynamics_value="u")),
    case([("company", 9, "field", "asked", True)], account(), company("a", company="Old"), BY_ACCOUNT, *staff(4),
         waited(dynamics_value=None)),
)  # fmt: skip


FIELD = ("company", 4, "field", "company", False)
BY_FIELD = (
    # A field of several accounts is the cause where it reaches more, no account does, and before what was asked already.
    case([], *CHANGED, *staff(3), *staff(2, is_deleted=True, first=5)),
    case([FIELD, FIELD], *CHANGED, *staff(2), *OTHER_ACCOUNT),
    case([], *CHANGED, *staff(1), *OTHER_ACCOUNT),
    case([*BY_SIZE, ("company", 6, "field", "company", False)], *BIG, *OTHER_ACCOUNT),
    case([FIELD, FIELD, ("site", 4, "field", "company", True)], account(name="New", url="u"), company("a", company="Old"),
         BY_ACCOUNT, *staff(2), waited("site", marketo=None, dynamics_value="u"), *OTHER_ACCOUNT),
    case([], *CHANGED, *staff(3), waited(is_approved=True), *OTHER_ACCOUNT),
    # With a first load nothing was let through before.
    case(BY_SIZE, account(name="New"), company("a", company="Old"), of_account(reason_code="refused"), *staff(4), FIRST_LOAD),
)  # fmt: skip


def test_an_account_that_reaches_more_people_than_may_be_unasked_waits_with_its_whole_row() -> None:
    """The cases of `BY_FIELD` each by itself, because a field of several accounts is a cause as well."""
    for cases in (ASKED, *((each,) for each in BY_FIELD)):
        cycle = () if FIRST_LOAD in cases[0].rows else (ABOVE_3,)
        with after("reconcile/company_differences", *cycle, *rows_of(cases), fields=FIELDS) as connection:
            found = connection.execute(
                "select account_id, field, n_reached, cause, cause_name, is_known from asked_differences "
                "order by field, account_id"
            ).fetchall()
            for number, each in enumerate(cases):
                assert [row[1:] for row in told(number, found)] == each.expected, each
            due = {account_id for account_id, _ in connection.execute("from due_accounts").fetchall()}
            waiting = {account_id for account_id, *_ in found}
            for table in ("updated_accounts", "company_differences"):
                applied = {account_id for account_id, *_ in connection.execute(f"from {table}").fetchall()}
                assert applied == due - waiting, table


COMPARED: Put = ("compared_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L"})
AGREED: Put = ("state.base", {"person_id": 1, "company": "Acme", "box": "true", "title": "Boss"})
ELSEWHERE = COMPARED, link(), person(external_company_id="K"), AGREED
NO_BASE: Put = ("state.base_missing", {"person_id": 1, "field": "company"})
FOREIGN = (
    # Of which fields nothing is agreed on any more: a lead's company text, where its person stands behind somebody else's.
    case(["box", "company"], *ELSEWHERE),
    case(["box", "company"], *ELSEWHERE, NO_BASE),
    case([], *ELSEWHERE[1:]),
    case([], *ELSEWHERE, company("lead:L")),
    case(["box", "company"], *ELSEWHERE, company("lead:M"), company("K")),
    case([], COMPARED, link(), person(external_company_id="lead:L"), AGREED),
    case(["box", "company"], COMPARED, link(), person(external_company_id="lead:M"), AGREED),
    case([], COMPARED, link(), person(), AGREED),
    case([], ("compared_links", COMPARED[1] | {"record_type": "contact"}), *ELSEWHERE[1:]),
    case(["box"], *ELSEWHERE[:3], ("state.base", {"person_id": 1, "title": "Boss"})),
)


def test_what_a_leads_person_shows_of_somebody_elses_company_is_not_agreed_on() -> None:
    with after("reconcile/foreign_companies", *rows_of(FOREIGN), fields=FIELDS) as connection:
        found = connection.execute("select person_id, field from state.base_missing order by all").fetchall()
        for number, each in enumerate(FOREIGN):
            assert told(number, found) == [(1, field) for field in each.expected], each
