"""Fields of every type and direction, with small pools of values, for tests on random edits."""

from __future__ import annotations

from dynsync_pipeline_tests.oracles.three_way_merge import Rule, compared
from dynsync_pipeline_tests.worlds.rows import LABELS, labels_of

RULES = {
    "title": Rule("text"),
    "flag": Rule("boolean"),
    "staff": Rule("integer"),
    "revenue": Rule("decimal"),
    "birth": Rule("date"),
    "seen": Rule("datetime"),
    "rating": Rule("choice"),
    "topics": Rule("choices"),
    "source": Rule("text", "to_marketo"),
    "score": Rule("integer", "to_dynamics"),
}
# Values as the systems spell them, choices as numbers; some are one value spelt in two ways.
POOLS: dict[str, list[str | None]] = {
    "text": ["A", "B", "a", "x ", "é", "two\r\nlines", "two\nlines", "", None],
    "boolean": ["true", "false", None],
    "integer": ["1", "2", "0", None],
    "decimal": ["1", "1.0", "2.5000", "0", None],
    "date": ["2026-02-01", "2026-02-02", None],
    "datetime": ["2026-02-01T00:00:00Z", "2026-02-01T02:00:00+02:00", "2026-02-01T00:00:01Z", None],
    "choice": ["1", "2", "3", None],
    "choices": ["1", "1,2", "2,1", "3", "3, 1,2", "", None],
}
# The same in the order in which somebody enters them in either system, where both held the first of a pool: the simplest example
# that hypothesis draws, and begins with, is then an edit, and of both sides a collision.
ENTERED = {
    "dynamics": {kind: [*pool[1:], pool[0]] for kind, pool in POOLS.items()},
    "marketo": {kind: pool[::-1] for kind, pool in POOLS.items()},
}
NUMBERS = {label: number for number, label in LABELS.items()}


def column_of(name: str) -> str:
    """The Dynamics column of a field."""
    return f"new_{name}"


def line_of(name: str, rule: Rule) -> str:
    """The line of a field in a field map, without the record type."""
    chosen = (
        "" if rule.collision == "original" else f"{rule.collision}:{rule.forbids}" if rule.forbids else rule.collision
    )
    return f"{name},{column_of(name)},{rule.type},{rule.direction},true,{chosen}"


def in_marketo(value: str | None, kind: str) -> str | None:
    """A value as Marketo holds it: options by their labels (R29, R33)."""
    return labels_of(value) if kind in ("choice", "choices") and value else value


def numbers_of(value: str | None, kind: str) -> str | None:
    """A value as Dynamics holds it, of labels or of what it holds already."""
    if kind not in ("choice", "choices") or not value:
        return value
    return ",".join(NUMBERS.get(label.strip(), label) for label in value.split(";"))


def compared_on_both_sides(held: tuple[str | None, str | None], kind: str) -> tuple[str | None, str | None]:
    """What Dynamics and Marketo hold, as it compares."""
    dynamics, marketo = held
    return compared(dynamics, kind), compared(numbers_of(marketo, kind), kind)
