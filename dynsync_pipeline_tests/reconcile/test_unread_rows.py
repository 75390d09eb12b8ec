"""What is told of what could not be read, line by line (`unread_records.sql`), by the rows that it is about.

Each case is a record or person of its own. Not here: reading it again, and what waits for it, in whole cycles
(`../reading/test_poisoned_answers.py`, `test_unread.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import AT, BEFORE, CYCLE, Put, after, case, link, rows_of, told

STEP = "reconcile/unread_records"


def unread(
    record_type: str = "lead", key: str = "L", *, has_id: bool = True, message: str = "m", attempts: int = 2
) -> Put:
    """What a system showed and nobody can read, for this reason."""
    of = {"record_type": record_type, "key": key, "has_id": has_id}
    return "state.unread", of | {"message": message, "attempts": attempts}


def sentence(record_type: str = "lead", *, has_id: bool = True) -> str:
    """What is told of what could not be read because of `m`."""
    then = (
        "It is read again by its id, and neither side of it is written until then; mend its values where they were entered."
        if has_id
        else "Its id is not told. Look for it in the system, save it there anew, and release this error."
    )
    return f"What was read of this {record_type} cannot be used: m. Everything else went on. {then}"


def error(**more: Any) -> Put:
    """One that is open, of a lead that could not be read twice before."""
    of = {
        "error_id": 1,
        "cycle_id": 1,
        "happened_at": BEFORE,
        "last_seen_at": BEFORE,
        "record_type": "lead",
        "dynamics_id": "L",
    }
    how = {
        "operation": "read",
        "direction": "to_marketo",
        "code": "unread",
        "message": sentence(),
        "attempts": 2,
        "state": "waiting",
    }
    return "ledger.sync_errors", of | how | more


NEW, KNOWN, AGAIN, OVER = ("waiting", 2, AT), ("waiting", 2, BEFORE), ("waiting", 3, AT), ("resolved", 2, BEFORE)
TOLD = (
    # State, attempts and last sight of each of its errors, and how often it is counted.
    case(([NEW], 1), unread()),
    case(([("waiting", 1, AT)], 1), unread(attempts=0)),
    case(([KNOWN], 0), unread(), error()),
    case(([AGAIN], 1), unread(attempts=3), error()),
    case(([("quarantined", 3, AT)], 1), unread(attempts=3), error(state="quarantined")),
    case(([("resolved", 2, BEFORE), NEW], 1), unread(), error(state="resolved")),
    case(([("resolved", 2, BEFORE), AGAIN], 1), unread(attempts=3), error(state="resolved")),
    case(([OVER], 0), error()),
    case(([("waiting", 2, BEFORE)], 0), error(code="other")),
    case(([("waiting", 2, BEFORE), AGAIN], 1), unread(attempts=3), error(code="other")),
    case(([OVER, AGAIN], 1), unread(attempts=3), error(record_type="contact")),
    case(([OVER, AGAIN], 1), unread(attempts=3), error(person_id=1)),
    case(([OVER, AGAIN], 1), unread(attempts=3), error(message="Something else.")),
    # Of a linked record its person is told, too.
    case(([OVER, NEW], 1), unread(), link(), error()),
    case(([KNOWN], 0), unread(), link(), error(person_id=1)),
    case(([AGAIN], 1), unread(attempts=3), link(), error(person_id=1)),
    case(([KNOWN], 0), unread(), link(1, "contact"), error()),
    case(([KNOWN, NEW], 1), unread(), link(), link(2), error(person_id=1)),
)  # fmt: skip


def test_what_cannot_be_read_is_an_error_until_it_is_read() -> None:
    with after(STEP, *rows_of(TOLD)) as connection:
        errors = connection.execute(
            "select dynamics_id, state, attempts, last_seen_at from ledger.sync_errors order by all"
        ).fetchall()
        counted = connection.execute(
            "select e.dynamics_id, a.cycle_id, a.attempted_at "
            "from ledger.error_attempts a join ledger.sync_errors e using (error_id)"
        ).fetchall()
        for number, each in enumerate(TOLD):
            expected, n_counted = each.expected
            assert [row[1:] for row in told(number, errors)] == sorted(expected), each
            assert [row[1:] for row in told(number, counted)] == [(CYCLE, AT)] * n_counted, each


def test_it_is_told_who_it_is_and_what_to_do() -> None:
    columns = "dynamics_id, person_id, direction, message"
    for rows, expected in (
        ((unread(),), ("L", None, "to_marketo", sentence())),
        ((unread(), link()), ("L", 1, "to_marketo", sentence())),
        ((unread("account", "A"),), ("A", None, "to_marketo", sentence("account"))),
        ((unread("person", "1"),), (None, 1, "to_dynamics", sentence("person"))),
        ((unread("company", "A"),), ("A", None, "to_dynamics", sentence("company"))),
        ((unread("person", "m", has_id=False),), (None, None, "to_dynamics", sentence("person", has_id=False))),
        ((unread("lead", "m", has_id=False),), (None, None, "to_marketo", sentence(has_id=False))),
    ):
        with after(STEP, *rows) as connection:
            assert connection.execute(f"select {columns} from unread_records").fetchall() == [expected]
            whole = f"{columns}, operation, code, field, cycle_id, happened_at, state"
            assert connection.execute(f"select {whole} from ledger.sync_errors").fetchall() == [
                (*expected, "read", "unread", None, CYCLE, AT, "waiting")
            ]


def test_what_has_no_id_is_one_error_as_long_as_it_shows() -> None:
    of_person = {"record_type": "person", "dynamics_id": None, "direction": "to_dynamics"}
    nobody = unread("person", "m", has_id=False)
    same = error(**of_person, message=sentence("person", has_id=False))
    somebody = unread("person", "1")
    of_somebody = error(**of_person, message=sentence("person"), person_id=1)
    for rows, expected in (
        ((nobody, same), [KNOWN]),
        ((nobody, same, unread("person", "n", has_id=False, message="n")), [KNOWN, NEW]),
        ((somebody, of_somebody), [KNOWN]),
        ((unread("person", "1", attempts=3), of_somebody), [AGAIN]),
        ((unread("person", "m", has_id=False, attempts=3), same), [AGAIN]),
        ((unread("person", "2"), of_somebody), [OVER, NEW]),
    ):
        with after(STEP, *rows) as connection:
            found = connection.execute("select state, attempts, last_seen_at from ledger.sync_errors order by all")
            assert found.fetchall() == expected
            counted = connection.execute("select count(*) from ledger.error_attempts").fetchall()
            assert counted == [(sum(row in (NEW, AGAIN) for row in expected),)]
