"""Cases of the rules as data, `rules_test.csv`: values of a field, and what must come of them (docs/field-map.md#rule-tests).

Not here: deciding them (`reconcile/rule_tests.py`).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dynsync_pipeline.errors import FieldMapWrong
from dynsync_pipeline.model.field_map import csv_text
from dynsync_pipeline.model.records import PERSON_TYPES

CASE_COLUMNS = ("record_type", "field", "base", "dynamics", "marketo", "outcome")
LATER = "later"  # may stand before `outcome`: the side that was edited later, where that is known
NEVER_AGREED = "(none)"
OUTCOMES = ("nothing", "to_marketo", "to_dynamics", "dynamics_wins", "marketo_wins", "review")


@dataclass(frozen=True)
class RuleCase:
    """One case. Values as the systems send them, options as any text; `has_base` is false where the two never agreed.

    `outcome` is one of OUTCOMES; `line` its place in the file.
    """

    line: int
    record_type: str
    field: str
    base: str | None
    has_base: bool
    dynamics: str | None
    marketo: str | None
    later: str | None
    outcome: str


def default_cases_text() -> str:
    """The cases that the package brings, as CSV: the worked cases of the original's rules."""
    return files("dynsync_pipeline.model").joinpath("default_rules_test.csv").read_text("utf-8")


def cases_text(path: Path) -> str:
    """The CSV at `path`. Raises: FieldMapWrong where it is no file of text."""
    return csv_text(path, "The file of rule tests", "Put a CSV there, or remove it.")


def parse_cases(text: str, name: str) -> list[RuleCase]:
    """Read the CSV `text`; `name` stands for the file in messages. Raises: FieldMapWrong with line and column."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    try:
        names = tuple(rows.fieldnames or ())
    except csv.Error:
        raise FieldMapWrong(f"{name} cannot be read as CSV.", next_step="Save it separated by commas.") from None
    if tuple(each for each in names if each != LATER) != CASE_COLUMNS or names.count(LATER) > 1:
        raise FieldMapWrong(
            f"{name}, line 1: these are not the columns of rule tests.",
            next_step=f"They must be {', '.join(CASE_COLUMNS)}, with {LATER} before the last if you want it.",
        )
    try:
        return [_case(row, f"{name}, line {rows.line_num}", rows.line_num) for row in rows]
    except csv.Error:
        raise FieldMapWrong(f"{name} cannot be read as CSV.", next_step="Save it separated by commas.") from None


def _case(row: dict[str, str | None], where: str, line: int) -> RuleCase:
    if None in row or None in row.values():
        raise FieldMapWrong(
            f"{where}: has another number of columns than line 1.", next_step="Write one value per column."
        )
    told = {name: (value or "").strip() for name, value in row.items()}
    for column, allowed in (
        ("record_type", tuple(PERSON_TYPES)),
        ("outcome", OUTCOMES),
        (LATER, ("", "dynamics", "marketo")),
    ):
        if told.get(column, "" if column == LATER else None) not in allowed:
            raise FieldMapWrong(
                f"{where}, {column}: not one of those known.", next_step=f"Use one of {', '.join(allowed)}."
            )
    base = told["base"]
    return RuleCase(
        line=line,
        record_type=told["record_type"],
        field=told["field"],
        base=None if base == NEVER_AGREED else base or None,
        has_base=base != NEVER_AGREED,
        dynamics=told["dynamics"] or None,
        marketo=told["marketo"] or None,
        later=told.get(LATER) or None,
        outcome=told["outcome"],
    )
