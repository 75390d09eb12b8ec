"""What is told as an error, when it is counted again and when it is over, line by line (`found_refusals.sql`,
`report_refusals.sql`, `resolved_errors.sql`, `reopened_errors.sql`), by the rows that they are about.

Each case is a record of its own. Not here: which refusals a system answers (`test_answer_rows.py`); errors of what was applied
(`test_settled_rows.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import AT, BEFORE, Put, Row, after, case, link, rows_of, told, touched

KEY: Row = {"record_type": "lead", "dynamics_id": "L"}
OF_PERSON = KEY | {"person_id": 1}


def decided(code: str, outcome: str = "refuse", **more: Any) -> Put:
    of = {
        "field": "title",
        "dynamics_column": "jobtitle",
        "type": "text",
        "decided_for": "dynamics",
        "most_characters": 3,
    }
    return "field_outcomes", OF_PERSON | of | {"outcome": outcome, "refusal_code": code} | more


def merged(side: str) -> Put:
    return "edited_after_merge", OF_PERSON | {"side": side}


def altered(code: str | None, rule: str = "key_put_back", *, is_waiting: bool = False, **more: Any) -> Put:
    how = {"field": "kind", "error_code": code, "rule_code": rule, "is_waiting": is_waiting}
    return "altered_own_fields", OF_PERSON | how | more


def held(code: str | None = "lead_unread") -> Put:
    return "held_back", {"record_type": "contact", "dynamics_id": "L", "lead_id": "M", "code": code}


CREATED, UPDATED, LINKED = ("create", "to_marketo"), ("update", "to_marketo"), ("link", "to_marketo")
BORN_BY = ("kept_back", OF_PERSON), ("kept_back", KEY | {"person_id": 2})
TWICE = ("doubled", OF_PERSON), ("doubled", KEY | {"person_id": 2})
REFUSED = (
    # Person, field, what was tried, code, and words of the message.
    case([(1, "title", *UPDATED, "oscillates", "puts its own value back")], decided("oscillates")),
    case([(1, "title", "update", "to_dynamics", "unknown_option", "of jobtitle in Dynamics (R33)")],
         decided("unknown_option", decided_for="marketo")),
    case([(1, "title", *UPDATED, "too_long", "the 3 characters that title in Marketo holds, and nothing is ever cut (R117). "
           "Shorten it in Dynamics")], decided("too_long")),
    case([(1, "title", "update", "to_dynamics", "too_long", "the 3 characters that jobtitle in Dynamics holds, and nothing is "
           "ever cut (R117). Shorten it in Marketo")], decided("too_long", decided_for="marketo")),
    case([], decided("too_long", "stand")),
    case([(1, None, *CREATED, "key_taken", "holds the id of this one")], *BORN_BY),
    case([(1, None, *CREATED, "merged_in_marketo", "was merged into that of a contact")], merged("merged")),
    case([(1, None, *CREATED, "qualified", "since it was qualified (R96)")], merged("qualified")),
    case([(None, None, *CREATED, "lead_unread", "was made of the lead")], held()),
    case([], held(None)),
    case([(1, None, *LINKED, "key_shared", "Another person holds the same id")], ("shared_keys", OF_PERSON)),
    case([(1, None, *LINKED, "doubled_link", "linked more than once")], *TWICE),
    case([(1, "kind", *UPDATED, "key_altered", "The key of a linked person")], altered("key_altered")),
    case([(1, "kind", *UPDATED, "own_field_altered", "Type or creation date")],
         altered("own_field_altered", "own_field_put_back")),
    case([(1, "kind", *UPDATED, "own_field_altered", "did not stay")], altered("own_field_altered", "company_of_record")),
    case([], altered(None)),
    case([], altered("key_altered", is_waiting=True)),
    case([(1, "leadKey", *UPDATED, "key_altered", "in the moment in which")],
         ("overwritten_keys", OF_PERSON | {"field": "leadKey"})),
)  # fmt: skip


def test_what_is_refused_without_asking_is_told_in_words_that_say_what_to_do() -> None:
    with after("reconcile/found_refusals", *rows_of(REFUSED)) as connection:
        found = connection.execute(
            "select dynamics_id, person_id, field, operation, direction, code, message from refusals"
        ).fetchall()
        assert connection.execute("select distinct cycle_id, seen_at from refusals").fetchall() == [(7, AT)]
        for number, each in enumerate(REFUSED):
            mine = [row for row in found if row[0] == f"L{number}"]
            for row, (*expected, words) in zip(mine, each.expected, strict=True):
                assert list(told(number, [row[:6]])[0][1:]) == expected, each
                assert words in row[6], row[6]


def refusal(code: str = "c", field: str | None = "title", person_id: int | None = 1, **more: Any) -> Put:
    of = {"cycle_id": 1, "seen_at": AT, "operation": "update", "direction": "to_marketo", "message": "no"}
    return "refusals", KEY | of | {"code": code, "field": field, "person_id": person_id} | more


def error(code: str = "c", field: str | None = "title", attempts: int = 2, **more: Any) -> Put:
    of = {
        "error_id": 1,
        "cycle_id": 1,
        "happened_at": BEFORE,
        "last_seen_at": BEFORE,
        "message": "m",
        "operation": "update",
    }
    how = {"direction": "to_marketo", "state": "waiting", "code": code, "field": field, "attempts": attempts}
    return "ledger.sync_errors", OF_PERSON | of | how | more


NEVER_RESTS = (
    *("key_taken", "key_shared", "doubled_link", "merged_in_marketo", "qualified", "lead_unread", "oscillates"),
    *("key_altered", "own_field_altered"),
)
NEW, AGAIN, OTHER = ("waiting", 1, 1), ("waiting", 3, 1), ("waiting", 2, 1)
REPORTED = (
    # State, attempts and person of each error of the record, and how often it is in the person's log.
    case(([NEW], 1), refusal()),
    case(([("waiting", 1, None)], 0), refusal(person_id=None)),
    case(([AGAIN], 0), refusal(), error()),
    case(([("waiting", 3, 2)], 0), refusal(person_id=2), error()),
    case(([AGAIN], 0), refusal(person_id=None), error()),
    case(([AGAIN], 0), refusal(field=None), error(field=None)),
    case(([("quarantined", 3, 1)], 0), refusal(), error(state="quarantined")),
    case(([("quarantined", 8, 1)], 0), refusal(), error(attempts=7)),
    case(([("waiting", 7, 1)], 0), refusal(), error(attempts=6)),
    *(case(([("waiting", 8, 1)], 0), refusal(code), error(code, attempts=7)) for code in NEVER_RESTS),
    case(([NEW, ("resolved", 2, 1)], 1), refusal(), error(state="resolved")),
    case(([NEW, OTHER], 1), refusal(), error("d")),
    case(([NEW, OTHER], 1), refusal(), error(field="city")),
    case(([NEW, OTHER], 1), refusal(), error(field=None)),
    case(([NEW, OTHER], 1), refusal(), error(direction="to_dynamics")),
    case(([NEW, OTHER], 1), refusal(), error(record_type="contact")),
    case(([NEW], 1), refusal(), error(dynamics_id=None)),
    # A key may be shared by several, each of whom has an error.
    case(([NEW, ("waiting", 2, 2)], 1), refusal("key_shared"), error("key_shared", person_id=2)),
    case(([AGAIN], 0), refusal("key_shared"), error("key_shared")),
    case(([("waiting", 3, None)], 0), refusal("key_shared", person_id=None), error("key_shared", person_id=None)),
)  # fmt: skip


def test_a_refusal_is_one_error_that_counts_its_attempts_and_rests_after_the_eighth() -> None:
    with after("warehouse/report_refusals", *rows_of(REPORTED)) as connection:
        found = connection.execute(
            "select dynamics_id, state, attempts, person_id from ledger.sync_errors where dynamics_id is not null "
            "order by attempts, person_id"
        ).fetchall()
        times = connection.execute(
            "select dynamics_id, a.cycle_id % 100, a.attempted_at, last_seen_at from ledger.error_attempts a "
            "join ledger.sync_errors using (error_id) "
        ).fetchall()
        logged = connection.execute("select person_id, activity_type, message from ledger.activities").fetchall()
        for number, each in enumerate(REPORTED):
            errors, n_logged = each.expected
            mine = [tuple(row[1:]) for row in found if row[0] == f"L{number}"]
            wanted = [(state, n, person_id and number * 100 + person_id) for state, n, person_id in errors]
            assert sorted(mine, key=str) == sorted(wanted, key=str), each
            assert [row for row in times if row[0] == f"L{number}"] == [(f"L{number}", 1, AT, AT)], each
            codes = [row["code"] for table, row in each.rows if table == "refusals"]
            said = [(1, "Sync Error", f"{code}: no") for code in codes] * n_logged
            assert told(number, logged) == said, each
        numbers = connection.execute("select count(*), count(distinct error_id) from ledger.sync_errors").fetchall()
        assert numbers[0][0] == numbers[0][1]


def unsettled(field: str | None = "title", person_id: int | None = 1) -> Put:
    return "state.unsettled", KEY | {"person_id": person_id, "field": field, "attempts": 1, "since": BEFORE}


COMPARED: Put = ("compared_links", OF_PERSON)
BY_PERSON = touched(person_id=1)
FREE = ("new_people", KEY), ("new_people", KEY | {"record_type": "contact"})
OVER = (
    # Whether the error is over: its person was compared and nothing of it is unsettled.
    case(True, error(), COMPARED),
    case(False, error()),
    case(False, error(), ("compared_links", KEY | {"person_id": 2})),
    case(False, error(), COMPARED, unsettled()),
    case(True, error(), COMPARED, unsettled("city")),
    case(True, error(), COMPARED, unsettled(person_id=2)),
    case(True, error(), COMPARED, unsettled(None)),
    case(False, error(field=None), COMPARED, unsettled()),
    case(False, error(field=None), COMPARED, unsettled(None)),
    case(True, error(state="quarantined"), COMPARED),
    case(False, error("key_taken"), COMPARED),
    case(False, error("merged_in_marketo"), COMPARED),
    case(False, error("qualified"), COMPARED),
    case(True, error("lead_unread"), COMPARED),
    # Nobody has edited the record since its person ended.
    case(True, error("key_taken"), ("resting_records", KEY)),
    case(False, error(), ("resting_records", KEY | {"record_type": "contact"})),
    case(False, error(), ("resting_records", KEY | {"dynamics_id": "M"})),
    # The key is shared no more.
    case(True, error("key_shared"), BY_PERSON),
    case(False, error("key_shared")),
    case(False, error(), BY_PERSON),
    case(False, error("key_shared"), touched(person_id=2)),
    case(False, error("key_shared"), BY_PERSON, ("shared_keys", OF_PERSON)),
    case(True, error("key_shared"), BY_PERSON, ("shared_keys", OF_PERSON | {"person_id": 2})),
    case(True, error("key_shared"), BY_PERSON, ("shared_keys", OF_PERSON | {"dynamics_id": "M"})),
    # The record has, or gets, a person.
    *(case(True, error(code), FREE[0]) for code in ("key_taken", "merged_in_marketo", "qualified", "lead_unread")),
    *(case(True, error(code), link()) for code in ("key_taken", "merged_in_marketo", "qualified", "lead_unread")),
    case(False, error(), FREE[0]),
    case(False, error("key_taken"), FREE[1]),
    case(False, error("key_taken"), link(1, "contact")),
    case(False, error("key_taken"), link(1, "lead", "M")),
)  # fmt: skip


def test_an_error_is_over_when_its_cause_went_away_without_a_write() -> None:
    with after("reconcile/resolved_errors", *rows_of(OVER)) as connection:
        found = connection.execute("select dynamics_id, state from ledger.sync_errors").fetchall()
        for number, each in enumerate(OVER):
            [(_, state)] = told(number, found)
            assert (state == "resolved") is each.expected, each


def test_an_error_of_an_own_field_that_did_not_stay_is_open_again() -> None:
    cases = (
        case("waiting", error(state="resolved"), altered("key_altered", error_id=1)),
        case("quarantined", error(state="quarantined"), altered("key_altered", error_id=1)),
        case("resolved", error(state="resolved"), altered("key_altered", error_id=2)),
        case("resolved", error(state="resolved"), altered("key_altered")),
    )
    with after("reconcile/reopened_errors", *rows_of(cases)) as connection:
        found = connection.execute("select dynamics_id, state from ledger.sync_errors").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [("L", each.expected)], each
