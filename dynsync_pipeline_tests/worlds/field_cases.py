"""What can be known of a field, and what the collision rule makes of it: the cases of `../reconcile/test_field_outcomes.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

NOW = datetime(2026, 1, 1, 12)  # noqa: DTZ001
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
HOUR = 60 * MINUTE
EDITED_AT = NOW - HOUR
BEHIND = 30 * SECOND  # Marketo's clock
ASK_ABOVE = 2
SAME = "the value that stands there"
Sides = tuple[str | None, str | None]


@dataclass
class Case:
    """What is known of a field, and what must come of it, as `outcome rule_code`.

    `sides` are Dynamics' and Marketo's value. `stood`, `waited`, `in_review` and `word` are what the working file says of such
    sides, which are those of now if not told.
    """

    expected: str
    base: str | None
    sides: Sides
    more: dict[str, Any] = field(default_factory=dict)


def case(expected: str, base: str | None, dynamics: str | None, marketo: str | None, /, **more: Any) -> Case:
    return Case(expected, base, (dynamics, marketo), more)


def met(expected: str, dynamics: str | None, marketo: str | None, **more: Any) -> Case:
    """A first meeting."""
    return case(expected, None, dynamics, marketo, has_base=False, **more)


def box(expected: str, forbids: str, base: str | None, dynamics: str, marketo: str, **more: Any) -> Case:
    """A consent of the rule `restrictive`; without a base a first meeting."""
    return case(
        expected, base, dynamics, marketo, has_base=base is not None, type="boolean", collision="restrictive",
        forbids=forbids, **more,
    )  # fmt: skip


def newest(told: timedelta, also: timedelta | None = None, value: str | None = SAME) -> dict[str, Any]:
    """Dynamics was edited in the minute before NOW less an hour; Marketo's feed tells its edit so long after that, by its own
    clock, which is half a minute behind.
    """
    return {"collision": "newest", "told": [each for each in (told, also) if each is not None], "told_value": value}


def yes(direction: str = "to_marketo", value: str | None = None) -> tuple[str, datetime, str | None]:
    return direction, NOW, value


def swung(
    outcome: str, dynamics: str | None, marketo: str | None, *, base: str | None = "B", rule: str = "one_sided", n: int = 6,
    gaps: Sequence[float] = (5,) * 6, values: Sequence[str | None] = ("A", "B"), last: timedelta = MINUTE,
    directions: Sequence[str] = ("to_dynamics", "to_marketo"), before: timedelta | None = None, **more: Any,
) -> Case:  # fmt: skip
    """A field that was written so often, the last time so long ago; `gaps` in minutes, newest first. `values` and `directions`
    go round so that the newest write is of the last, and `before` is how long ago one more was, of the other kind.
    """
    at, writes = NOW - last, []
    for place in range(n):
        writes.append((at, directions[-1 - place % len(directions)], values[-1 - place % len(values)]))
        at -= gaps[min(place, len(gaps) - 1)] * MINUTE
    if before is not None:
        writes.append((NOW - before, directions[-1 - (n - 1) % 2], "other"))
    return Case(f"{outcome} {rule}", base, (dynamics, marketo), {"writes": writes} | more)


LEAD: dict[str, Any] = {"kind": "lead"}
CONTACT: dict[str, Any] = {"kind": "contact"}
BOTH_EDITED = ("A", "D", "M")
PLANNED, ASKED, REFUSED = "planned", "waiting_for_approval", "refused"

CASES: Mapping[str, Sequence[Case]] = {
    "equal sides, and one of them edited": (
        case("agree agreed", "A", "B", "B"),
        case("agree agreed", "A", None, None, direction="to_marketo"),
        case("take_dynamics one_sided", "A", "B", "A"),
        case("take_dynamics one_sided", "A", None, "A", **LEAD),
        case("take_marketo one_sided", "A", "A", "B"),
        case("take_marketo one_sided", "A", "A", None),
    ),
    "an option bears another label": (
        case("take_dynamics option_renamed", "1", "1", "1", type="choice", is_relabelled=True),
        case("take_dynamics option_renamed", "1", "1", "1", type="choice", is_relabelled=True, direction="to_marketo"),
        case("take_dynamics one_sided", "1", "2", "1", type="choice", is_relabelled=True),
        case("take_dynamics option_renamed", "1", None, None, type="choice", is_relabelled=True),
        case("wait option_renamed", "1", "1", "1", type="choice", is_relabelled=True, waited=(PLANNED, 1)),
    ),
    "both sides edited, by the original rule": (
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, **CONTACT),
        case("collision_marketo_wins marketo_wins", *BOTH_EDITED, **LEAD),
        case("collision_dynamics_wins dynamics_wins", "A", None, "M", **CONTACT),
        case("collision_marketo_wins marketo_wins", "A", "D", None, **LEAD),
        case("collision_dynamics_wins dynamics_wins", None, "D", "M", **CONTACT),
    ),
    "a first meeting": (
        met("take_marketo blank_filled", None, "M"),
        met("take_dynamics blank_filled", "D", None),
        met("take_marketo blank_filled", "false", "true", type="boolean"),
        met("take_dynamics blank_filled", "true", "false", type="boolean"),
        met("collision_dynamics_wins first_meeting_dynamics_wins", "false", "M", **CONTACT),
        met("collision_dynamics_wins first_meeting_dynamics_wins", "D", "false", **CONTACT),
        met("collision_marketo_wins first_meeting_marketo_wins", "D", "M", **LEAD),
        met("collision_dynamics_wins map_dynamics_wins", "D", "M", collision="dynamics", **LEAD),
        met("stand in_review", "D", "M", collision="review"),
        met("take_dynamics blank_filled", "D", None, collision="review"),
        met("stand in_review", "D", None, collision="review", stood=("in_review", "X", "Y")),
        met("stand in_review", None, "M", collision="review", stood=("in_review", "X", "Y")),
    ),
    "a field of one way": (
        case("take_dynamics dynamics_owns", "A", "B", "A", direction="to_marketo"),
        case("take_dynamics dynamics_owns", "A", "B", "M", direction="to_marketo"),
        case("stand one_way_edited", "A", "A", "B", direction="to_marketo"),
        case("take_marketo marketo_owns", "A", "A", "B", direction="to_dynamics"),
        case("take_marketo marketo_owns", "A", "D", "B", direction="to_dynamics"),
        case("stand one_way_edited", "A", "B", "A", direction="to_dynamics"),
        met("take_dynamics dynamics_owns", "D", "M", direction="to_marketo"),
        met("stand one_way_edited", None, "M", direction="to_marketo"),
        met("take_marketo marketo_owns", "D", "M", direction="to_dynamics"),
        met("stand one_way_edited", "D", None, direction="to_dynamics"),
        case("take_dynamics dynamics_owns", "A", "A", "B", direction="to_marketo", waited=(PLANNED, -1)),
        case("take_marketo marketo_owns", "A", "B", "A", direction="to_dynamics", waited=(PLANNED, -1)),
        case("stand one_way_edited", "A", "A", "B", direction="to_marketo", waited=(PLANNED, -1), waited_sides=("A", "C")),
        # The next edit of the record at the owner's takes the field along, and an edit at the other side does not.
        case("take_dynamics dynamics_owns", "A", "A", "B", direction="to_marketo", person=1),
        case("take_dynamics one_sided", "A", "B", "A", person=1),
        case("take_marketo marketo_owns", "A", "B", "A", direction="to_dynamics", person=2),
        case("take_marketo one_sided", "A", "A", "B", person=2),
    ),
    "what stands unequal": (
        case("stand one_sided", *BOTH_EDITED, stood=("", "D", "M")),
        case("take_dynamics one_sided", *BOTH_EDITED, stood=("", "A", "M")),
        case("take_marketo one_sided", *BOTH_EDITED, stood=("", "D", "A")),
        case("stand one_sided", "A", None, "M", stood=("", None, "M")),
        case("stand one_sided", "A", "D", None, stood=("", "D", None)),
        case("stand sent_again", *BOTH_EDITED, stood=("kept_by_marketo", "D", "M")),
        case("take_dynamics sent_again", *BOTH_EDITED, stood=("kept_by_marketo", "D", "M"), waited=(PLANNED, -1)),
        case("take_marketo sent_again", *BOTH_EDITED, stood=("kept_by_dynamics", "D", "M"), waited=(PLANNED, -1)),
        case("take_dynamics one_sided", *BOTH_EDITED, stood=("kept_by_dynamics", "A", "M"), waited=(PLANNED, -1)),
        case("take_marketo one_sided", *BOTH_EDITED, stood=("kept_by_marketo", "D", "A"), waited=(PLANNED, -1)),
        case("stand sent_again", *BOTH_EDITED, stood=("kept_by_marketo", "D", "M"), waited=(PLANNED, -1),
             waited_sides=("D", "X")),
        case("stand one_way_edited", *BOTH_EDITED, stood=("undo", "D", "M"), direction="to_marketo", person=3),
        case("take_dynamics one_sided", "A", "B", "A", person=3),
        case("take_dynamics dynamics_owns", *BOTH_EDITED, stood=("undo", "A", "M"), direction="to_marketo"),
        case("stand one_way_edited", *BOTH_EDITED, stood=("undo", "D", "A"), direction="to_marketo"),
        case("stand one_way_edited", "A", "D", "M", stood=("kept_by_marketo", "D", "M"), direction="to_marketo"),
    ),
    "what came back from a backup": (
        case("stand in_review", *BOTH_EDITED, stood=("restored", "D", "M")),
        case("collision_marketo_wins reviewed", *BOTH_EDITED, stood=("restored", "D", "M"), word="marketo"),
        case("take_dynamics one_sided", *BOTH_EDITED, stood=("restored", "A", "M")),
        case("take_marketo one_sided", *BOTH_EDITED, stood=("restored", "D", "A")),
        case("stand one_way_edited", *BOTH_EDITED, stood=("restored", "D", "M"), direction="to_marketo"),
        # It is no edit of its record.
        case("stand in_review", *BOTH_EDITED, stood=("restored", "D", "M"), person=4),
        case("stand one_way_edited", "A", "A", "B", direction="to_marketo", person=4),
        case("stand in_review", *BOTH_EDITED, stood=("restored", "D", "M"), person=7),
        case("stand one_way_edited", "A", "B", "A", direction="to_dynamics", person=7),
        case("stand in_review", "A", None, "M", stood=("restored", None, "M")),
        case("stand in_review", "A", "D", None, stood=("restored", "D", None)),
    ),
    "a review": (
        case("stand in_review", *BOTH_EDITED, collision="review"),
        case("take_dynamics one_sided", "A", "D", "A", collision="review"),
        case("collision_dynamics_wins reviewed", *BOTH_EDITED, collision="review", word="dynamics"),
        case("collision_marketo_wins reviewed", *BOTH_EDITED, collision="review", word="marketo"),
        case("stand in_review", *BOTH_EDITED, collision="review", word="marketo", word_sides=("D", "X")),
        case("stand in_review", *BOTH_EDITED, collision="review", word="marketo", word_sides=("X", "M")),
        case("collision_marketo_wins reviewed", "A", None, "M", collision="review", word="marketo"),
        case("collision_dynamics_wins reviewed", "A", "D", None, collision="review", word="dynamics"),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, word="marketo", **CONTACT),
        # While it waits both sides are edited, whatever they were before; an edit back to the base ends it.
        case("stand in_review", "A", "D", "A", collision="review", stood=("in_review", "D", "A")),
        case("stand in_review", "A", "A", "M", collision="review", stood=("in_review", "A", "M")),
        case("take_dynamics one_sided", "A", "D", "A", collision="review", stood=("in_review", "D", "M")),
        case("take_marketo one_sided", "A", "A", "M", collision="review", stood=("in_review", "D", "M")),
        case("stand in_review", "A", "D2", "M", collision="review", stood=("in_review", "D", "M")),
        case("stand in_review", "A", None, "A", collision="review", stood=("in_review", None, "A")),
        case("stand in_review", "A", "A", None, collision="review", stood=("in_review", "A", None)),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, stood=("in_review", "D", "M"), **CONTACT),
    ),
    "the rule of the map": (
        case("collision_dynamics_wins map_dynamics_wins", *BOTH_EDITED, collision="dynamics", **LEAD),
        case("collision_marketo_wins map_marketo_wins", *BOTH_EDITED, collision="marketo", **CONTACT),
        case("take_marketo one_sided", "A", "A", "M", collision="dynamics"),
        case("take_dynamics one_sided", "A", "D", "A", collision="marketo"),
    ),
    "a consent": (
        box("collision_dynamics_wins stricter_wins", "false", None, "false", "true", **LEAD),
        box("collision_marketo_wins stricter_wins", "false", None, "true", "false", **CONTACT),
        box("take_dynamics blank_filled", "true", None, "true", "false"),
        box("take_marketo blank_filled", "true", None, "false", "true"),
        box("take_dynamics one_sided", "true", "true", "false", "true"),
        box("take_marketo one_sided", "false", "false", "false", "true"),
        box("collision_dynamics_wins stricter_wins", "true", "x", "true", "false", **LEAD),
        box("collision_marketo_wins stricter_wins", "true", "x", "false", "true", **CONTACT),
        box("collision_dynamics_wins dynamics_wins", "never", "x", "true", "false", **CONTACT),
    ),
    "what is never cleared": (
        case("stand clear_stands", "A", None, "A", collision="never_clear"),
        case("stand clear_stands", "A", "A", None, collision="never_clear"),
        case("take_dynamics one_sided", "A", "D", "A", collision="never_clear"),
        case("take_dynamics one_sided", None, "D", None, collision="never_clear"),
        case("take_marketo one_sided", None, None, "M", collision="never_clear"),
        case("take_dynamics one_sided", "A", None, "A"),
        case("collision_marketo_wins value_over_clear", "A", None, "M", collision="never_clear", **CONTACT),
        case("collision_dynamics_wins value_over_clear", "A", "D", None, collision="never_clear", **LEAD),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, collision="never_clear", **CONTACT),
    ),
    "what was planned before": (
        case("wait one_sided", "A", "B", "A", waited=(REFUSED, 1), attempts=3),
        case("take_dynamics one_sided", "A", "B", "A", waited=(REFUSED, 0), attempts=3),
        case("take_dynamics one_sided", "A", "B", "A", waited=(REFUSED, 1), waited_sides=("B", "X"), attempts=0),
        case("take_dynamics one_sided", "A", "B", "A", waited=(REFUSED, 1), waited_sides=("X", "A"), attempts=0),
        case("wait one_sided", "A", None, "A", waited=(REFUSED, 1)),
        case("wait one_sided", "A", "A", None, waited=(REFUSED, 1)),
    ),
    "what a column does not take": (
        case("refuse one_sided", "A", "long", "A", held={"marketo": 3}, refusal="too_long"),
        case("take_dynamics one_sided", "A", "long", "A", held={"dynamics": 3, "marketo": 4}),
        case("refuse one_sided", "A", "A", "long", held={"dynamics": 3}, refusal="too_long"),
        case("take_marketo one_sided", "A", "A", "long", held={"dynamics": 4, "marketo": 3}),
        case("refuse dynamics_wins", "A", "long", "M", held={"marketo": 3}, refusal="too_long", **CONTACT),
        case("refuse marketo_wins", "A", "D", "long", held={"dynamics": 3}, refusal="too_long", **LEAD),
        case("agree agreed", "A", "long", "long", held={"marketo": 3, "dynamics": 3}),
        case("refuse one_sided", "1", "1", "?x", type="choice", refusal="unknown_option"),
        case("refuse one_sided", "1", "1", "?x", type="choices", refusal="unknown_option"),
        case("take_marketo one_sided", "1", "1", "?x"),
        case("take_dynamics one_sided", "1", "2", "?x", type="choice", stood=("", "1", "?x")),
        case("refuse one_sided", "1", "2", "1", type="choice", options={"2": "long"}, held={"marketo": 3}, refusal="too_long"),
        case("take_dynamics one_sided", "1", "2", "1", type="choice", options={"2": "new"}, held={"marketo": 3}),
    ),
    "the newest": (
        case("collision_marketo_wins newest_marketo_wins", *BOTH_EDITED, **newest(told=31 * SECOND)),
        case("collision_dynamics_wins newest_unknown_dynamics_wins", *BOTH_EDITED, **newest(told=30 * SECOND), **CONTACT),
        case("collision_dynamics_wins newest_dynamics_wins", *BOTH_EDITED, **newest(told=-MINUTE - 91 * SECOND), **LEAD),
        case("collision_marketo_wins newest_unknown_marketo_wins", *BOTH_EDITED, **newest(told=-MINUTE - 90 * SECOND), **LEAD),
        case("collision_marketo_wins newest_marketo_wins", *BOTH_EDITED, **newest(told=HOUR, also=-HOUR)),
        case("collision_marketo_wins newest_marketo_wins", "A", "D", None, **newest(told=HOUR), **CONTACT),
        case("collision_dynamics_wins newest_unknown_dynamics_wins", *BOTH_EDITED, **newest(told=HOUR, value="X"), **CONTACT),
        case("collision_dynamics_wins newest_unknown_dynamics_wins", *BOTH_EDITED, collision="newest", **CONTACT),
        case("collision_dynamics_wins newest_unknown_dynamics_wins", *BOTH_EDITED, **newest(told=HOUR), seen=False, name="when"),
        case("collision_marketo_wins newest_marketo_wins", *BOTH_EDITED, **newest(told=HOUR), name="when"),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, **newest(told=HOUR) | {"collision": "original"}),
        case("take_dynamics one_sided", "A", "D", "A", **newest(told=HOUR)),
    ),
    "many that are asked of": (
        *(case("ask one_sided", "A", "B", "A", name="many", person=10 + n) for n in range(3)),
        *(case("take_marketo one_sided", "A", "A", "B", name="many", person=20 + n) for n in range(2)),
        case("take_dynamics one_sided", "A", "B", "A", name="many", person=30, waited=(PLANNED, -1)),
        case("ask one_sided", "A", "B", "A", name="many", person=31, waited=(ASKED, 0)),
        case("ask one_sided", "A", "B", "A", name="many", person=32, waited=(PLANNED, -1), waited_sides=("X", "A")),
        case("take_dynamics one_sided", "A", "B", "A", name="many", person=33, waited=(ASKED, -1), approved=yes()),
        case("take_dynamics one_sided", "A", "B", "A", name="two", person=34),
        case("take_dynamics one_sided", "A", "B", "A", name="two", person=35),
        case("take_dynamics one_sided", "A", "B", "A", name="two", person=36, waited=(PLANNED, -1)),
        case("ask one_sided", "A", "B", "A", name="two", person=37, waited=(ASKED, -1)),
        case("take_dynamics one_sided", "A", "B", "A", name="two", person=38, **LEAD),
        case("ask one_sided", "A", "B", "A", waited=(ASKED, -1), approved=("to_marketo", None, None)),
        *(case("ask one_sided", "A", "B", "A", name="other way", person=40 + n, approved=yes("to_dynamics"),
               waited=(ASKED, -1)) for n in range(3)),
        *(case("take_dynamics option_renamed", "1", "1", "1", type="choice", is_relabelled=True, name="label", person=50 + n,
               options={"1": "new"}, waited=(ASKED, -1), approved=yes(value="new")) for n in range(3)),
        *(case("ask option_renamed", "1", "1", "1", type="choice", is_relabelled=True, name="older label", person=60 + n,
               options={"1": "new"}, waited=(ASKED, -1), approved=yes(value="old")) for n in range(3)),
        *(case("collision_marketo_wins reviewed", *BOTH_EDITED, collision="review", word="marketo", name="word",
               person=70 + n) for n in range(3)),
        *(box("take_dynamics one_sided", "true", "false", "true", "false", name="no", person=80 + n) for n in range(3)),
        *(box("ask one_sided", "true", "true", "false", "true", name="yes", person=83 + n) for n in range(3)),
        *(case("ask dynamics_wins", *BOTH_EDITED, name="collided", person=90 + n) for n in range(3)),
        *(case("refuse one_sided", "1", "1", "?x", type="choice", name="refused", person=93 + n) for n in range(3)),
        *(case("stand clear_stands", "A", None, "A", collision="never_clear", name="kept", person=96 + n) for n in range(3)),
    ),
    "an edit that our write overwrote unseen": (
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, overwritten=True, **CONTACT),
        case("collision_marketo_wins marketo_wins", *BOTH_EDITED, overwritten=True, **LEAD),
        case("take_marketo one_sided", "A", "A", "M", overwritten=False),
        case("collision_dynamics_wins dynamics_wins", "A", "A", "M", overwritten=True, **CONTACT),
        case("collision_marketo_wins marketo_wins", "A", "D", "long", overwritten=True, held={"dynamics": 3},
             refusal="too_long", **LEAD),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, overwritten=True, stood=("", "D", "M")),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, overwritten=True, waited=(REFUSED, 1)),
        case("stand in_review", *BOTH_EDITED, overwritten=True, collision="review", word="marketo"),
        # It is no edit of the record as it stands now.
        case("take_marketo one_sided", "A", "A", "M", overwritten=False, person=5),
        case("stand one_way_edited", "A", "A", "B", direction="to_dynamics", person=6, stood=("", "A", "B")),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, overwritten=True, person=6),
        case("collision_dynamics_wins dynamics_wins", *BOTH_EDITED, overwritten=True, person=8),
        case("stand one_way_edited", "A", "A", "B", direction="to_marketo", person=8),
    ),
    "two systems that each put their own value back": (
        swung("refuse", "A", "B"),
        swung("refuse", "C", "A", base="C"),
        swung("take_dynamics", "C", "B"),
        swung("take_dynamics", "A", "B", n=5),
        swung("refuse", "A", "B", n=7),
        swung("refuse", "A", "B", n=6, before=3 * HOUR),
        swung("refuse", "A", "B", gaps=[20, 20, 20, 20, 20]),
        swung("take_dynamics", "A", "B", gaps=[21, 21, 21, 21, 21]),
        swung("refuse", "A", "B", gaps=[4, 6, 4, 6, 4]),
        swung("take_dynamics", "A", "B", gaps=[4, 7, 4, 7, 4]),
        swung("take_dynamics", "A", "B", values=("A", "C", "B")),
        swung("refuse", None, "B", values=(None, "B")),
        swung("take_dynamics", "A", "B", directions=("to_marketo",)),
        swung("take_dynamics", "A", "B", directions=("to_dynamics", "to_marketo", "to_marketo")),
        swung("take_dynamics", "A", "B", gaps=[21, 20, 20, 20, 20]),
        swung("take_dynamics", "A", "B", gaps=[20.2, 20.2, 20.2, 20.2, 20.2]),
        swung("refuse", "A", "B", n=7, gaps=[5, 5, 5, 5, 5, 1]),
        swung("refuse", "C", None, base="C", values=(None, "B")),
        swung("take_dynamics", "A", "B", last=2 * HOUR),
        swung("refuse", "A", "B", last=2 * HOUR - SECOND),
        swung("refuse", "1", "2", base="2", values=("Hot", "Cold"), type="choice"),
        swung("refuse", "1", "2", base="2", values=("Hot", "Cold"), type="choices"),
        swung("collision_dynamics_wins", "A", "B", base="X", rule="dynamics_wins"),
        swung("collision_dynamics_wins", "A", "B", base="X", rule="dynamics_wins", overwritten=True),
        swung("take_marketo", "A", "B", base="A", overwritten=False),
    ),
}  # fmt: skip
