"""What comes out otherwise by other rules, line by line (`other_rules.sql`, `past_collisions.sql`, `other_outcomes.sql`), by the
rows that they are about.

Each case is a field, a collision or a person of its own. Not here: `dynsync whatif` on a whole file (`../cli/test_whatif.py`).
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline_tests.worlds.rule_rows import BEFORE, SECOND, Id, Put, after, case, rows_of, told

FIELD = (
    "person_id bigint, record_type varchar, dynamics_id varchar, field varchar, dynamics_column varchar, type varchar, "
    "direction varchar, collision varchar, forbids varchar, has_base boolean, base_value varchar, dynamics_value varchar, "
    "marketo_value varchar, is_relabelled boolean"
)
MADE_BETWEEN = {
    "tried_rules": "record_type varchar, field varchar, collision varchar, forbids varchar",
    "tried_since": "since timestamp",
    "fields_now": FIELD,
    "outcomes_now": "person_id bigint, field varchar, outcome varchar, rule_code varchar",
    "overwritten_fields": f"{FIELD}, is_carried_over boolean",
}


def rule(table: str, collision: str | None, forbids: str | None, field: str = "title", **more: Any) -> Put:
    of = {"record_type": "lead", "field": Id(field), "collision": collision, "forbids": forbids}
    return table, of | more


def mapped(direction: str = "both", **more: Any) -> Put:
    of: dict[str, Any] = {"dynamics_column": "jobtitle", "type": "text", "direction": direction, "is_on_company": False}
    return rule("reconcile.fields", "old", "clear", **of | more)


def differs(field: str = "title", **more: Any) -> Put:
    of = {"person_id": 1, "dynamics_id": "L", "dynamics_column": "jobtitle", "type": "text", "direction": "both"}
    values = {"has_base": True, "base_value": "b", "dynamics_value": "d", "marketo_value": "m", "is_relabelled": False}
    return rule("fields_now", "old", "clear", field, **of | values | more)


def tried(collision: str | None, forbids: str | None, field: str = "title", **more: Any) -> Put:
    return rule("tried_rules", collision, forbids, field, **more)


OLD, NEW = ("old", "clear"), ("new", "none")
TRIED = (
    # By which rule a field that is synced both ways is tried, and what differs of it now.
    case((NEW, NEW), mapped(), differs(), tried("new", "none")),
    case(((None, None), (None, None)), mapped(), differs(), tried(None, None)),
    case((OLD, OLD), mapped(), differs()),
    case((OLD, OLD), mapped(), differs(), tried("new", "none", record_type="contact")),
    case((OLD, OLD), mapped(), differs(), tried("new", "none", "city")),
    case((None, OLD), mapped("to_marketo"), differs(), tried("new", "none")),
    case((None, OLD), mapped("to_dynamics"), differs(), tried("new", "none")),
    case((OLD, OLD), mapped(), differs(), mapped(field="city"), tried("new", "none", "city")),
)


def test_a_field_that_goes_both_ways_gets_the_rule_that_is_tried_and_keeps_all_else() -> None:
    names = "record_type, dynamics_column, type, direction"
    values = "person_id, dynamics_id, has_base, base_value, dynamics_value, marketo_value, is_relabelled"
    with after("reconcile/other_rules", *rows_of(TRIED), tables=MADE_BETWEEN) as connection:
        rules = connection.execute(f"select field, collision, forbids, {names} from other_rules").fetchall()
        fields = connection.execute(
            f"select field, collision, forbids, {names}, {values} from differing_fields"
        ).fetchall()
    of = "lead", "jobtitle", "text"
    for number, each in enumerate(TRIED):
        by, of_what_differs = each.expected
        mine = [row for row in told(number, rules) if row[0] == "title"]
        assert mine == ([("title", *by, *of, "both")] if by else []), each
        assert told(number, fields) == [("title", *of_what_differs, *of, "both", 1, "L", True, "b", "d", "m", False)], (
            each
        )


def collided(**more: Any) -> Put:
    of = {"entry_id": 1, "cycle_id": 1, "settled_at": BEFORE, "record_type": "lead", "person_id": 1, "dynamics_id": "L"}
    values = {"base_value": "b", "dynamics_value": "d", "marketo_value": "m", "winner": "marketo"}
    when = {"dynamics_modified_at": BEFORE - SECOND, "marketo_changed_at": BEFORE - 2 * SECOND}
    return "ledger.collisions", of | values | when | {"field": Id("title"), "rule_code": "marketo_wins"} | more


def under(collision: str | None = "dynamics", **more: Any) -> Put:
    of = {"dynamics_column": "jobtitle", "type": "text", "direction": "both"}
    return rule("other_rules", collision, "clear", **of | more)


SINCE: Put = ("tried_since", {"since": BEFORE})
EDITS = [(BEFORE - SECOND,)], [("m", BEFORE - 2 * SECOND)]
PAST = (
    # The values that are put forward once more, and the edits of which it is known when they were.
    case((("b", "d", "m"), [], []), collided(), under()),
    case((("b", "d", "m"), [], []), collided(), under(None)),
    case((("b", "d", "m"), *EDITS), collided(), under("newest")),
    case(
        (("b", "d", "m"), [(None,)], []), collided(dynamics_modified_at=None, marketo_changed_at=None), under("newest")
    ),
    case((("b", "d", "m"), [], []), collided(settled_at=BEFORE + SECOND), under()),
    case((("b", "d", None), [], []), collided(marketo_value=None), under()),
    case((("b", "d", "false"), [], []), collided(marketo_value=None), under(type="boolean")),
    case((("b", "false", "m"), [], []), collided(dynamics_value=None), under(type="boolean")),
    case((("b", None, "m"), [], []), collided(dynamics_value=None), under()),
    case((None, [], []), collided(settled_at=BEFORE - SECOND), under("newest")),
    case((None, [], []), collided(rule_code="deleted_in_dynamics"), under("newest")),
    case((None, [], []), collided(record_type="contact"), under("newest")),
    case((None, [], []), collided(field=Id("city")), under("newest")),
    case((None, [], []), under("newest")),
)


def test_a_collision_of_the_past_is_put_forward_once_more_as_edits_of_both_sides() -> None:
    with after("reconcile/past_collisions", SINCE, *rows_of(PAST), tables=MADE_BETWEEN) as connection:
        fields = connection.execute(
            "select -person_id, base_value, dynamics_value, marketo_value from overwritten_fields "
            "where has_base and is_carried_over and not is_relabelled and dynamics_id = 'collision ' || -person_id "
            "and (record_type, dynamics_column, direction, forbids) = ('lead', 'jobtitle', 'both', 'clear')"
        ).fetchall()
        in_dynamics = connection.execute(
            "select split_part(dynamics_id, ' ', 2)::bigint, until_at from past_dynamics_edits "
            "where record_type = 'lead' and after_at is null"
        ).fetchall()
        in_marketo = connection.execute("select -person_id, value, told_at from past_marketo_edits").fetchall()
    for number, each in enumerate(PAST):
        values, of_dynamics, of_marketo = each.expected
        assert told(number, fields) == ([(1, *values)] if values else []), each
        assert told(number, in_dynamics) == [(1, *row) for row in of_dynamics], each
        assert told(number, in_marketo) == [(1, *row) for row in of_marketo], each


def then(outcome: str, rule_code: str = "r", table: str = "field_outcomes", **more: Any) -> Put:
    of = {"person_id": 1, "record_type": "lead", "dynamics_id": "L", "field": "title", "type": "text"}
    values = {"base_value": "b", "dynamics_value": "d", "marketo_value": "m"}
    return table, of | values | {"outcome": outcome, "rule_code": rule_code} | more


def before(outcome: str, rule_code: str = "r", **more: Any) -> Put:
    return "outcomes_now", {"person_id": 1, "field": "title", "outcome": outcome, "rule_code": rule_code} | more


def of_past(outcome: str, rule_code: str = "r", **more: Any) -> Put:
    """The same for the collision, by its number."""
    return then(outcome, rule_code, "overwritten_outcomes", person_id=-1, **more)


FROM_PAST, FROM_NOW = (1, BEFORE), (None, None)
OTHERWISE = (
    # What comes out otherwise: of which collision, both outcomes, and by which rule.
    case([(*FROM_PAST, "marketo_wins", "dynamics_wins", "r")], collided(), of_past("collision_dynamics_wins")),
    case(
        [(*FROM_PAST, "dynamics_wins", "review", "in_review")],
        collided(winner="dynamics"),
        of_past("stand", "in_review"),
    ),
    case([(*FROM_PAST, "marketo_wins", "nothing", "r")], collided(), of_past("stand")),
    case([], collided(), of_past("collision_marketo_wins")),
    case([], collided(entry_id=2), of_past("collision_dynamics_wins")),
    case(
        [(*FROM_NOW, "dynamics_wins", "marketo_wins", "r")],
        before("collision_dynamics_wins"),
        then("collision_marketo_wins"),
    ),
    case([(*FROM_NOW, "to_marketo", "to_dynamics", "r")], before("take_dynamics"), then("take_marketo")),
    case([], before("take_dynamics"), then("take_dynamics")),
    case([], before("take_dynamics", person_id=2), then("take_marketo")),
    case([], before("take_dynamics", field="city"), then("take_marketo")),
    case([], then("take_marketo")),
)


def test_told_is_what_comes_out_otherwise_of_the_past_and_of_what_differs_now() -> None:
    with after("reconcile/other_outcomes", *rows_of(OTHERWISE), tables=MADE_BETWEEN) as connection:
        found = connection.execute(
            "select person_id, collision_id, settled_at, outcome, outcome_then, rule_code from other_outcomes "
            "where (record_type, base_value, dynamics_value, marketo_value) = ('lead', 'b', 'd', 'm') "
            "and starts_with(field, 'title') and starts_with(dynamics_id, 'L')"
        ).fetchall()
    for number, each in enumerate(OTHERWISE):
        assert told(number, found) == [(1, *row) for row in each.expected], each
