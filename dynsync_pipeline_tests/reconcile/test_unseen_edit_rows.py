"""What becomes of edits in Marketo that our write overwrote, line by line (`unseen_edits.sql`), by the rows that it is about.

Each case is a person of its own. Not here: what such an edit meets (`test_differing_rows.py`); the same in whole cycles.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import BEFORE, CYCLE, Put, after, case, kept_out, link, rows_of, told

FIELDS = (
    "account company name text to_marketo",
    "lead title jobtitle text both",
    "lead size c_size integer both",
    "lead score c_score text to_marketo",
    "lead company companyname text both",
)
KEYS: Put = ("reconcile.own_fields", {
    "lead_id": "leadKey", "contact_id": "contactKey", "person_type": "kind", "is_deleted": "flag", "created_on": "born",
    "company": "companyKey",
})  # fmt: skip


def edit(value: str | None = "Edit", field: str = "title") -> Put:
    return "state.unseen_edits", {"person_id": 1, "field": field, "value": value, "change_id": 1}


def wrote(rule: str = "one_sided") -> Put:
    """Our write that overwrote it."""
    of = {
        "entry_id": 1,
        "cycle_id": 1,
        "changed_at": BEFORE,
        "direction": "to_marketo",
        "record_type": "lead",
        "dynamics_id": "L",
    }
    return "ledger.changes", of | {
        "person_id": 1,
        "field": "title",
        "old_value": "Old",
        "new_value": "New",
        "rule_code": rule,
    }


def decided(
    outcome: str = "collision_marketo_wins", rule: str = "marketo_wins", *, stands: bool | None = None, **more: Any
) -> Put:
    """How the edit was decided, in the words that are compared."""
    key = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": "title", "type": "text"}
    how = {"outcome": outcome, "rule_code": rule, "is_to_stand": "marketo" in outcome if stands is None else stands}
    return "overwritten_outcomes", key | {"marketo_value": "m", "base_value": "b"} | how | more


def now(outcome: str = "agree", *, dynamics: bool = False, marketo: bool = False, **more: Any) -> Put:
    """How the field is decided now, and which side was edited."""
    key = {"person_id": 1, "field": "title", "outcome": outcome}
    return "field_outcomes", key | {"is_dynamics_update": dynamics, "is_marketo_update": marketo} | more


def ended(side: str = "dynamics") -> Put:
    return "ended_links", {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "side": side}


def base(value: str | None = "B") -> Put:
    return "state.base", {"person_id": 1, "title": value}


MET = link(), edit(), wrote()
LOST, BACK, QUIET = "the edit is lost", "it is put back", "nothing"
SETTLED = (
    # What becomes of the edit, and whether it is remembered.
    case((LOST, False), *MET, decided("collision_dynamics_wins", "dynamics_wins")),
    case((BACK, True), *MET, decided()),
    case((BACK, True), *MET, decided("take_marketo")),
    case((BACK, True), *MET, decided("stand", stands=True)),
    case((QUIET, False), *MET, decided("agree")),
    case((QUIET, False), *MET),
    # Overtaken by a later edit in Marketo; a later edit in Dynamics waits, and so does what stands.
    case((QUIET, False), *MET, decided(), now()),
    case((BACK, True), *MET, decided(), now("stand")),
    case((BACK, True), *MET, decided(), now("take_dynamics", dynamics=True)),
    case((QUIET, False), *MET, decided(), now("take_marketo", marketo=True)),
    case((QUIET, False), *MET, decided(), now("collision_marketo_wins", dynamics=True, marketo=True)),
    case((QUIET, False), *MET, decided(), now("wait")),
    case((BACK, True), *MET, decided(), now("stand", marketo=True)),
    case((BACK, True), *MET, decided(), now(field="size")),
    case((BACK, True), *MET, decided(), now(person_id=2)),
    # Of a person who is kept out it rests.
    case((QUIET, True), *MET, kept_out()),
    case((QUIET, False), *MET, kept_out("contact")),
    case((QUIET, False), *MET, kept_out("lead", "M")),
    case((QUIET, False), edit(), wrote(), kept_out()),
    # Where the record is gone, the edit is lost.
    case((LOST, False), edit(), wrote(), ended()),
    case((QUIET, False), edit(), wrote(), ended("marketo")),
    case((QUIET, False), edit(field="score"), wrote(), ended()),
    case((QUIET, False), edit(field="company"), wrote(), ended()),
    case((QUIET, False), edit(field="unknown"), wrote(), ended()),
)  # fmt: skip


def test_an_edit_that_was_overwritten_is_put_back_where_marketo_wins_and_else_kept_as_the_loser() -> None:
    with after("reconcile/unseen_edits", KEYS, *rows_of(SETTLED), fields=FIELDS) as connection:
        lost = connection.execute("select person_id, marketo_value from ledger.collisions").fetchall()
        back = connection.execute("select person_id, dynamics_id from reconcile.operations").fetchall()
        left = connection.execute("select person_id from state.unseen_edits").fetchall()
        numbers = connection.execute(
            "select count(*), count(distinct operation_id), min(operation_id) from reconcile.operations "
            f"where (system, action, cycle_id) = ('marketo', 'update', {CYCLE})"
        ).fetchall()
        for number, each in enumerate(SETTLED):
            what, is_left = each.expected
            assert told(number, lost) == [(1, "Edit")] * (what == LOST), each
            assert told(number, back) == [(1, "L")] * (what == BACK), each
            assert told(number, left) == [(1,)] * is_left, each
    assert numbers == [(len(back), len(back), 1)]


def test_it_is_told_which_values_met_and_what_is_agreed_on_then() -> None:
    """Expected: the change as old and new value, sent value and base; the collision as base, both values and winner."""
    cases = (
        case((("New", "Edit", "m", "B"), ("Old", "New", "Edit", "marketo")), *MET, base(), decided()),
        case((("New", "Edit", "m", None), ("Old", "New", "Edit", "marketo")), *MET, base(None), decided()),
        case((("New", "Edit", "m", "b"), None), *MET, base(), decided("stand", "in_review", stands=True)),
        case((("New", "Edit", "m", "B"), None), *MET, base(), decided("take_marketo")),
        case(
            (("New", "Edit", "m", "B"), ("Old", "Old", "Edit", "marketo")),
            link(),
            edit(),
            wrote("undo"),
            base(),
            decided(),
        ),
        case((None, ("Old", "New", "Edit", "dynamics")), *MET, decided("collision_dynamics_wins")),
        case(
            (None, ("Old", "New", "Edit", "dynamics")),
            link(),
            edit(),
            wrote("undo"),
            decided("collision_dynamics_wins"),
        ),
    )
    before = [
        ("reconcile.operations", {
            "operation_id": operation_id, "cycle_id": CYCLE, "system": "marketo", "action": "create", "record_type": "lead",
            "dynamics_id": "x", "person_id": 9900, "body": "{}",
        })
        for operation_id in (3, 9)
    ]  # fmt: skip
    with after("reconcile/unseen_edits", KEYS, *before, *rows_of(cases), fields=FIELDS) as connection:
        of = "join reconcile.operations using (operation_id)"
        changes = connection.execute(
            f"select person_id, old_value, new_value, sent_value, base_after from reconcile.planned_changes {of}"
        ).fetchall()
        values = "base_value, dynamics_value, marketo_value, winner"
        collisions = connection.execute(f"select person_id, {values} from reconcile.planned_collisions {of}").fetchall()
        collisions += connection.execute(f"select person_id, {values} from ledger.collisions").fetchall()
        bodies = connection.execute(
            "select person_id, body from reconcile.operations where person_id < 9900"
        ).fetchall()
        for number, each in enumerate(cases):
            change, collision = each.expected
            assert told(number, changes) == ([(1, *change)] if change else []), each
            assert told(number, collisions) == ([(1, *collision)] if collision else []), each
        assert {(person_id, body) for person_id, body in bodies} == {
            (person_id, f'{{"id": {person_id}, "title": "Edit"}}') for person_id, *_ in changes
        }
        numbers = connection.execute("select distinct operation_id from reconcile.operations order by all").fetchall()
        assert numbers == [(3,), (9,), *((10 + n,) for n in range(len(bodies)))]


def test_a_number_is_put_back_as_a_number() -> None:
    rows = link(), edit("7", "size"), wrote(), decided(field="size", type="integer")
    with after("reconcile/unseen_edits", KEYS, *rows, fields=FIELDS) as connection:
        assert connection.execute("select body from reconcile.operations").fetchall() == [('{"id": 1, "size": 7}',)]


def test_a_key_that_somebody_wrote_is_told_of_whoever_is_linked() -> None:
    cases = (
        case(["leadKey"], link(), edit("x", "leadKey")),
        case(["contactKey"], link(), edit("x", "contactKey")),
        case([], link(), edit(None, "leadKey")),
        case([], link(), edit("x", "companyKey")),
        case([], edit("x", "leadKey")),
        case([], link(2), edit("x", "leadKey")),
        case(["leadKey"], link(), edit("x", "leadKey"), edit("y", "leadKey")),
    )
    with after("reconcile/unseen_edits", KEYS, *rows_of(cases), fields=FIELDS) as connection:
        found = connection.execute("select person_id, field from overwritten_keys").fetchall()
        for number, each in enumerate(cases):
            assert told(number, found) == [(1, field) for field in each.expected], each
