"""What waits for somebody's word, line by line (`reviews.sql`), by the rows that it is about.

Each case is a field of a person of its own. Not here: what a word leads to, in whole cycles (`test_reviews.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dynsync_pipeline_tests.worlds.rule_rows import AT, Put, Row, after, parked

PARKED = "parked"
OLD = -1  # number of what waited before


class Waited(NamedTuple):
    """A review of a lead's title, D and M, or as `review` tells; what the plan found, and whether it stays open."""

    is_open: bool
    review: Row
    found: tuple[tuple[str, Row], ...]


def stays(*found: tuple[str, Row], **review: Any) -> Waited:
    return Waited(True, review, found)


def closes(*found: tuple[str, Row], **review: Any) -> Waited:
    return Waited(False, review, found)


def outcome(rule_code: str = "in_review", word: str = "stand", **more: Any) -> tuple[str, Row]:
    return "field_outcomes", {"rule_code": rule_code, "outcome": word, "collision": "review"} | more


COMPARED: tuple[str, Row] = ("compared_links", {})
CASES = (
    stays(),
    closes(("ended_links", {})),
    closes(("taken_over", {})),
    closes(COMPARED),
    stays(COMPARED, field=PARKED),
    closes(COMPARED, field=PARKED, record_type="contact"),
    stays(COMPARED, outcome()),
    stays(COMPARED, outcome("reviewed", "collision_dynamics_wins")),
    stays(COMPARED, outcome("one_sided", "wait")),
    closes(COMPARED, outcome("one_sided", "take_dynamics")),
    closes(COMPARED, outcome(collision="original")),
    closes(COMPARED, outcome("one_sided", "wait", collision="original")),
    closes(COMPARED, outcome(field="another")),
    closes(COMPARED, outcome(person_id=-1)),
    closes(COMPARED, outcome(dynamics_id="another")),
    closes(COMPARED, outcome(dynamics_value="edited")),
    closes(COMPARED, outcome(marketo_value="edited")),
    stays(COMPARED, outcome(), dynamics_value=None),
    stays(COMPARED, outcome(), marketo_value=None),
)


def test_a_review_stays_open_as_long_as_its_two_values_are_to_be_decided() -> None:
    rows: list[Put] = [parked("lead", PARKED)]
    for number, case in enumerate(CASES):
        key = {"person_id": number, "record_type": "lead", "dynamics_id": f"r{number}", "field": "title"}
        review = key | {"dynamics_value": "D", "marketo_value": "M"} | case.review
        rows.append(("state.reviews", review | {"review_id": OLD, "opened_at": AT}))
        for table, row in case.found:
            keys: dict[str, Row] = {"field_outcomes": review | {"type": "text"}, "taken_over": {"loser_id": number}}
            rows.append((table, keys.get(table, {"person_id": number}) | row))
    with after("reconcile/reviews", *rows) as connection:
        left = connection.execute(f"select person_id from state.reviews where review_id = {OLD}").fetchall()
        for number, case in enumerate(CASES):
            assert ((number,) in left) is case.is_open, case


def test_a_review_opens_once_with_all_three_values_as_people_read_them() -> None:
    """Of an option the label that Marketo still holds, where it is known."""
    rating: Row = {
        "record_type": "lead",
        "field": "rating",
        "type": "choice",
        "dynamics_column": "c",
        "collision": "review",
    }
    rating |= {
        "base_value": "1",
        "dynamics_value": "2",
        "marketo_value": "3",
        "rule_code": "in_review",
        "outcome": "stand",
    }
    title = rating | {"field": "title", "type": "text", "dynamics_column": "t"}
    found = [
        rating | {"person_id": 1},
        title | {"person_id": 1},
        rating | {"person_id": 2},  # of whom Marketo holds a label of before
        rating | {"person_id": 3, "record_type": "contact"},
        rating | {"person_id": 4, "dynamics_column": "other"},
        rating | {"person_id": 5, "rule_code": "one_sided"},
        rating | {"person_id": 6},  # which is open
        title | {"person_id": 7},
    ]
    label: Row = {"person_id": 2, "record_type": "lead", "field": "rating", "option_value": "3", "label": "Chilly"}
    others: tuple[Row, ...] = ({"person_id": 22}, {"record_type": "contact"}, {"field": "title"}, {"option_value": "2"})
    open_before: Row = {"review_id": OLD, "record_type": "lead", "dynamics_id": "r", "opened_at": AT}
    rows: list[Put] = [
        *(("field_outcomes", row | {"dynamics_id": "r"}) for row in found),
        *(("state.old_labels", label | {"label": "another"} | other) for other in others),
        ("state.old_labels", label),
        ("state.reviews", open_before | {"person_id": 6, "field": "rating"}),
        ("state.reviews", open_before | {"person_id": 7, "field": "rating"}),
    ]
    options = {("lead", "c"): {"1": "Hot", "2": "Warm", "3": "Cold"}}
    with after("reconcile/reviews", *rows, options=options) as connection:
        new = connection.execute(
            "select person_id, field, base_value, dynamics_value, marketo_value, base_shown, dynamics_shown, marketo_shown, "
            f"opened_at from state.reviews where review_id <> {OLD} order by person_id, field"
        ).fetchall()
        assert connection.execute("select count(*), count(distinct review_id) from state.reviews").fetchall() == [
            (8, 7)
        ]
    values = ("1", "2", "3")
    assert new == [
        (1, "rating", *values, "Hot", "Warm", "Cold", AT),
        (1, "title", *values, *values, AT),
        (2, "rating", *values, "Hot", "Warm", "Chilly", AT),
        (3, "rating", *values, *values, AT),
        (4, "rating", *values, *values, AT),
        (7, "title", *values, *values, AT),
    ]
