"""Fields of every type and direction, with small pools of values, for tests on random edits."""

from __future__ import annotations

from dynsync_pipeline_tests.oracles.three_way_merge import Rule, compared
from dynsync_pipeline_tests.worlds.rows import OPTIONS

RULES = {
    "title": Rule("text"),
    "flag": Rule("boolean"),
    "staff": Rule("integer"),
    "revenue": Rule("decimal"),
    "birth": Rule("date"),
    "seen": Rule("datetime"),
    "rating": Rule("choice"),
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
}
NUMBERS = {label: number for number, label in OPTIONS.items()}


def column_of(name: str) -> str:
    """The Dynamics column of a field."""
    return f"new_{name}"


def line_of(name: str, rule: Rule) -> str:
    """The line of a field in a field map, without the record type."""
    return f"{name},{column_of(name)},{rule.type},{rule.direction},true"


def in_marketo(value: str | None, kind: str) -> str | None:
    """A value as Marketo holds it: a choice by its label (R33)."""
    return OPTIONS[value] if kind == "choice" and value is not None else value


def compared_on_both_sides(held: tuple[str | None, str | None], kind: str) -> tuple[str | None, str | None]:
    """What Dynamics and Marketo hold, as it compares."""
    dynamics, marketo = held
    if kind == "choice" and marketo is not None:
        marketo = NUMBERS[marketo]
    return compared(dynamics, kind), compared(marketo, kind)
