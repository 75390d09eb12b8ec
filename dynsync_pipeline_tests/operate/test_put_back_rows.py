"""What a working file that comes from a backup forgets, and what it says of that, line by line (`put_back.sql`), by the rows that
it is about.

Not here: restores as users run them (`test_restore.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dynsync_pipeline.sql_files import run_steps, sql_file
from dynsync_pipeline_tests.worlds.rule_rows import AT, BEFORE, SECOND, Put, after, any_row, empty, link, make, put

STEP = "operate/put_back"
TABLES = {
    "putting_back": "restored_at timestamp, made_at timestamp, newest_entry bigint, newest_cycle bigint",
    "later_tombstones": "person_id bigint, record_type varchar, dynamics_id varchar, side varchar, ended_at timestamp",
    "later_changes": "person_id bigint, field varchar",
}
PUTTING_BACK: Put = (
    "putting_back",
    {"restored_at": AT, "made_at": AT - SECOND, "newest_entry": 50, "newest_cycle": 9},
)
OWN: Put = ("reconcile.own_fields", {
    "lead_id": "leadKey", "contact_id": "contactKey", "person_type": "kind", "is_deleted": "flag", "created_on": "born",
    "company": "companyKey",
})  # fmt: skip
LEFT = {  # of what it changes and does not empty
    *(
        "state.restored",
        "state.changed_after_backup",
        "state.tombstones",
        "state.cursors",
        "state.reviews",
        "state.back_fills",
    ),
    *("state.told_until", "ledger.cycles"),
}


def test_what_was_under_way_when_the_backup_was_made_is_forgotten() -> None:
    forgotten = {*sql_file(STEP).changes} - LEFT
    assert len(forgotten) > 40
    with empty() as connection:
        make(connection, TABLES)
        put(connection, [PUTTING_BACK, OWN])
        for name in forgotten:
            put(connection, [any_row(connection, name)])
            assert connection.execute(f"select count(*) from {name}").fetchall() == [(1,)], name
        run_steps(connection, (STEP,))
        for name in forgotten:
            assert connection.execute(f"from {name}").fetchall() == [], name


def test_a_word_that_was_given_before_the_backup_counts_no_more() -> None:
    review = {
        "review_id": 1,
        "person_id": 1,
        "record_type": "lead",
        "dynamics_id": "L",
        "field": "title",
        "opened_at": BEFORE,
    }
    given = {"choice": "dynamics", "chosen_at": BEFORE, "chosen_by": "ann"}
    with after(STEP, PUTTING_BACK, OWN, ("state.reviews", review | given), tables=TABLES) as connection:
        found = connection.execute("select review_id, choice, chosen_at, chosen_by from state.reviews").fetchall()
        assert found == [(1, None, None, None)]


def stone(person_id: int, dynamics_id: str, record_type: str = "lead") -> dict[str, Any]:
    key = {"person_id": person_id, "record_type": record_type, "dynamics_id": dynamics_id}
    return key | {"side": "marketo", "ended_at": BEFORE}


def test_what_a_later_snapshot_tells_is_noted_where_the_backup_does_not_know_better() -> None:
    changed = {"person_id": 1, "field": "title"}
    rows: list[Put] = [
        ("later_changes", changed),
        ("later_changes", changed),
        ("later_changes", changed | {"field": "city"}),
        ("state.changed_after_backup", {"person_id": 9, "field": "old"}),
        ("state.tombstones", stone(1, "known")),
        link(2, "lead", "linked"),
        *(
            ("later_tombstones", stone(9, of, kind))
            for of in ("known", "linked", "new")
            for kind in ("lead", "contact")
        ),
    ]
    with after(STEP, PUTTING_BACK, OWN, *rows, tables=TABLES) as connection:
        noted = connection.execute("select person_id, field from state.changed_after_backup order by field").fetchall()
        assert noted == [(1, "city"), (1, "title")]
        stones = connection.execute(
            "select person_id, dynamics_id, record_type from state.tombstones order by all"
        ).fetchall()
        contacts = [(9, of, "contact") for of in ("known", "linked", "new")]
        assert stones == sorted([(1, "known", "lead"), (9, "new", "lead"), *contacts])


def test_everything_is_read_anew_and_the_feed_read_on() -> None:
    cursor = {"cursor": "c", "is_loaded": True, "moved_at": BEFORE, "whole_columns": "w"}
    streams = ("marketo_people", "dynamics_leads")
    rows = [("state.cursors", cursor | {"stream": stream, "columns": "id,kind,flag,title"}) for stream in streams]
    with after(STEP, PUTTING_BACK, OWN, *rows, tables=TABLES) as connection:
        found = connection.execute(
            "select stream, cursor, columns, is_loaded, whole_columns from state.cursors"
        ).fetchall()
        assert found == [("marketo_people", "c", "id,flag,title", False, None)]


def test_back_fills_that_were_under_way_are_stopped_and_what_was_told_in_marketo_is_not_told_again() -> None:
    asked = {"record_type": "lead", "fields": ["title"], "asked_at": BEFORE, "n_chosen": 1, "n_read": 1, "n_again": 0}
    over = {"ended_at": BEFORE, "outcome_code": "done"}
    rows: list[Put] = [
        ("state.back_fills", asked | {"back_fill_id": 1}),
        ("state.back_fills", asked | over | {"back_fill_id": 2}),
        ("state.told_until", {"activity_id": 3}),
    ]
    with after(STEP, PUTTING_BACK, OWN, *rows, tables=TABLES) as connection:
        found = connection.execute(
            "select back_fill_id, ended_at, outcome_code from state.back_fills order by all"
        ).fetchall()
        assert found == [(1, AT, "stopped"), (2, BEFORE, "done")]
        assert connection.execute("select activity_id from state.told_until").fetchall() == [(50,)]


def test_the_restore_is_a_cycle_of_its_own_above_all_that_were_published() -> None:
    ran = {"started_at": BEFORE - timedelta(days=1)}
    states = ("running", "loading", "done")
    rows: list[Put] = [
        ("state.restored", {"restored_at": BEFORE, "made_at": BEFORE}),
        *(
            ("ledger.cycles", ran | {"cycle_id": number, "status": status})
            for number, status in enumerate(states, start=1)
        ),
    ]
    with after(STEP, PUTTING_BACK, OWN, *rows, tables=TABLES) as connection:
        found = connection.execute(
            "select cycle_id, status, started_at from ledger.cycles order by cycle_id"
        ).fetchall()
        assert [row[:2] for row in found] == [(1, "failed"), (2, "failed"), (3, "done"), (10, "restored")]
        assert found[-1][2] == AT
        restored = connection.execute("select restored_at, made_at, reread_at from state.restored").fetchall()
        assert restored == [(AT, AT - SECOND, None)]
