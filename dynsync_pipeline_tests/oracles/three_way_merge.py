"""What must come out for one link, written from the rules' text alone: slow, plain and obviously right.

The SQL under test is compared with this on random input. Nothing here imports the pipeline, and nothing here was
written by looking at it; where this and the SQL disagree, the rules decide (R34 to R50).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation


@dataclass(frozen=True)
class Rule:
    """One mapped field: its type decides how values compare (R45), its direction who may be written.

    `collision` is who wins where both sides edited it, as docs/field-map.md#who-wins has it; `forbids` the value of a consent
    that forbids.
    """

    type: str = "text"
    direction: str = "both"
    collision: str = "original"
    forbids: str | None = None


@dataclass(frozen=True)
class Seen:
    """One field of one link as seen by a cycle; values are spelt as the systems sent them, options as numbers.

    `has_base` is False when both sides never agreed on this field. `standing` holds the two unequal values
    (Dynamics, Marketo) that were accepted as settled; `is_foreign` tells that they stand because the side that does not
    own a one-way field edited it, not because a system kept our value differently. `later` is the side that is known to have
    been edited later.
    """

    base: str | None
    dynamics: str | None
    marketo: str | None
    has_base: bool = True
    standing: tuple[str | None, str | None] | None = None
    is_foreign: bool = False
    later: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a cycle does about one field; `winner` is set only for a collision."""

    write_dynamics: bool = False
    write_marketo: bool = False
    value: str | None = None
    winner: str | None = None
    is_no_base: bool = False


NOTHING = Outcome()


def normalised(value: str | None, kind: str) -> str | None:
    """R45: text that is equal exactly when the values are."""
    if value is None or value == "":
        return None
    if kind == "text":
        return re.sub("\r+\n|\r", "\n", value.replace("\0", "")) or None
    if kind == "choices":
        return ",".join(map(str, sorted({int(number) for number in value.split(",")})))
    if kind == "boolean":
        return {"true": "true", "1": "true", "false": "false", "0": "false"}.get(value.lower(), value)
    if kind == "guid":
        return value.lower()
    if kind == "date":
        return value[:10]
    if kind == "datetime":
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if kind in ("integer", "decimal"):
        try:
            number = Decimal(value)
        except InvalidOperation:
            return value
        text = f"{number.quantize(Decimal('1e-10'), ROUND_HALF_UP):f}"
        text = text.rstrip("0").rstrip(".")
        return "0" if text in ("-0", "") else text
    return value


def compared(value: str | None, kind: str) -> str | None:
    """The value in comparisons: for booleans null and false are one value."""
    text = normalised(value, kind)
    return "false" if kind == "boolean" and text is None else text


def outcomes(record_type: str, rules: dict[str, Rule], seen: dict[str, Seen]) -> dict[str, Outcome]:
    """The outcome of every field of one link."""
    dynamics_changed = any(_has_moved(seen[name], rules[name], "dynamics") for name in rules)
    marketo_changed = any(_has_moved(seen[name], rules[name], "marketo") for name in rules)
    return {
        name: _one_way(rules[name], seen[name], dynamics_changed, marketo_changed)
        if rules[name].direction != "both"
        else _both_ways(record_type, rules[name], seen[name])
        for name in rules
    }


def _has_moved(seen: Seen, rule: Rule, side: str) -> bool:
    """Whether a side's value is not the one it had when the field was last settled (R37: no clock, only values)."""
    if not seen.has_base:
        return False  # without a base nothing is evidence of an edit (R42)
    now = seen.dynamics if side == "dynamics" else seen.marketo
    before = seen.base
    if seen.standing is not None:  # an accepted inequality: each side is measured against its own half of it
        before = seen.standing[0] if side == "dynamics" else seen.standing[1]
    return compared(now, rule.type) != compared(before, rule.type)


def _both_ways(record_type: str, rule: Rule, seen: Seen) -> Outcome:
    dynamics = compared(seen.dynamics, rule.type)
    marketo = compared(seen.marketo, rule.type)
    if dynamics == marketo:
        return NOTHING  # R12, R38
    if not seen.has_base:
        return _no_base(record_type, rule, seen, dynamics, marketo)
    dynamics_moved = _has_moved(seen, rule, "dynamics")
    marketo_moved = _has_moved(seen, rule, "marketo")
    if not dynamics_moved and not marketo_moved:
        return NOTHING  # a standing difference that still stands
    if dynamics_moved != marketo_moved and rule.collision == "never_clear" and None in (dynamics, marketo):
        moved = dynamics if dynamics_moved else marketo
        if moved is None:
            return NOTHING  # R48: emptied on one side, and not carried over
    if dynamics_moved and not marketo_moved:
        return _to_marketo(dynamics)  # R46: null too
    if marketo_moved and not dynamics_moved:
        return _to_dynamics(marketo)  # R48: null too
    return _collision(record_type, rule, seen, dynamics, marketo)


def _is_blank(value: str | None, rule: Rule) -> bool:
    """Null is blank; so is false, which for booleans is the same value."""
    return value is None or (rule.type == "boolean" and value == "false")


def _no_base(record_type: str, rule: Rule, seen: Seen, dynamics: str | None, marketo: str | None) -> Outcome:
    """R42: a blank is no evidence of an edit, so it is filled; two filled values collide. Of a consent that *false* forbids, a
    blank forbids (R132).
    """
    if rule.forbids == "false" and "false" in (dynamics, marketo):
        settled = _collision(record_type, rule, seen, dynamics, marketo)
    elif _is_blank(marketo, rule):
        return Outcome(write_marketo=True, value=dynamics, is_no_base=True)
    elif _is_blank(dynamics, rule):
        return Outcome(write_dynamics=True, value=marketo, is_no_base=True)
    else:
        settled = _collision(record_type, rule, seen, dynamics, marketo)
    is_original = rule.collision in ("original", "never_clear")
    return Outcome(settled.write_dynamics, settled.write_marketo, settled.value, settled.winner, is_no_base=is_original)


def _collision(record_type: str, rule: Rule, seen: Seen, dynamics: str | None, marketo: str | None) -> Outcome:
    """Whose value stands, by the rule of the field."""
    winner = _winner(record_type, rule, seen, dynamics, marketo)
    if winner == "marketo":
        return Outcome(write_dynamics=True, value=marketo, winner="marketo")
    if winner == "dynamics":
        return Outcome(write_marketo=True, value=dynamics, winner="dynamics")
    return NOTHING  # a person decides


def _winner(record_type: str, rule: Rule, seen: Seen, dynamics: str | None, marketo: str | None) -> str | None:
    """R35: Marketo wins for leads, Dynamics for contacts, never by time (R41); unless the field map says otherwise."""
    if rule.collision == "review":
        return None
    if rule.collision in ("dynamics", "marketo"):
        return rule.collision
    if rule.collision == "restrictive" and rule.forbids in (dynamics, marketo):
        return "dynamics" if dynamics == rule.forbids else "marketo"
    if rule.collision == "never_clear" and None in (dynamics, marketo):
        return "marketo" if dynamics is None else "dynamics"
    if rule.collision == "newest" and seen.later:
        return seen.later
    return "marketo" if record_type == "lead" else "dynamics"


def _one_way(rule: Rule, seen: Seen, dynamics_changed: bool, marketo_changed: bool) -> Outcome:
    """R43 and R44: the owning side never collides; a foreign edit is overwritten at the record's next change there."""
    dynamics = compared(seen.dynamics, rule.type)
    marketo = compared(seen.marketo, rule.type)
    if dynamics == marketo:
        return NOTHING
    owner, other = ("dynamics", "marketo") if rule.direction == "to_marketo" else ("marketo", "dynamics")
    value = dynamics if owner == "dynamics" else marketo
    write = _to_marketo(value) if owner == "dynamics" else _to_dynamics(value)
    if not seen.has_base:
        # A first meeting: the owner's value counts, but its blank is no evidence that somebody cleared it (R42).
        return NOTHING if _is_blank(value, rule) else write
    still_stands = seen.standing is not None and not (_has_moved(seen, rule, owner) or _has_moved(seen, rule, other))
    if still_stands and not seen.is_foreign:
        return NOTHING
    return write if (dynamics_changed if owner == "dynamics" else marketo_changed) else NOTHING


def _to_marketo(value: str | None) -> Outcome:
    return Outcome(write_marketo=True, value=value)


def _to_dynamics(value: str | None) -> Outcome:
    return Outcome(write_dynamics=True, value=value)
