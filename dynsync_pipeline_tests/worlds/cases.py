"""The worked cases of the collision rules, as data: who edits what, and what must come out. Played in memory and over HTTP.

Not here: playing them (`reconcile/test_worked_cases.py`, `end_to_end/test_worked_cases.py`); cases 13 and 14, which are
about accounts (`accounts/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dynsync_pipeline.model.records import RecordType

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
COLUMNS = {"title": "jobtitle", "city": "address1_city", "phone": "telephone1"}
Values = Mapping[str, str | None]


@dataclass(frozen=True, eq=False)
class Case:
    """Edits by Marketo field name, on a link whose sides agree on `base`.

    `result` is what both sides hold afterwards, `to` the directions of the writes, `winner` that of the collision.
    `detour` is what Dynamics held for a moment, before the edit.
    """

    name: str
    record_type: RecordType
    in_dynamics: Values
    in_marketo: Values
    result: Values
    to: tuple[str, ...] = ()
    winner: str | None = None
    base: Values = field(default_factory=lambda: {"title": "A", "city": "P"})
    detour: Values = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.record_type}: {self.name}"

    @property
    def collision(self) -> tuple[str | None, str | None, str | None, str] | None:
        """Base, Dynamics' and Marketo's value, and the winner; always of the title."""
        if self.winner is None:
            return None
        return self.base.get("title"), self.in_dynamics.get("title"), self.in_marketo.get("title"), self.winner


A, B, C, NONE = {"title": "A"}, {"title": "B"}, {"title": "C"}, {"title": None}
EMPTY = {"title": None, "city": "P"}
MARKETO, DYNAMICS = ("to_marketo",), ("to_dynamics",)
CASES = (
    Case("1 one-sided in Dynamics", LEAD, B, {}, B, MARKETO),
    Case("1 one-sided in Dynamics", CONTACT, B, {}, B, MARKETO),
    Case("2 one-sided in Marketo", LEAD, {}, C, C, DYNAMICS),
    Case("2 one-sided in Marketo", CONTACT, {}, C, C, DYNAMICS),
    Case("3 collision on a lead", LEAD, B, C, C, DYNAMICS, "marketo"),
    Case("4 collision on a contact", CONTACT, B, C, B, MARKETO, "dynamics"),
    Case("5 same edit on both", LEAD, B, B, B),
    Case("5 same edit on both", CONTACT, B, B, B),
    Case("6 cleared in Dynamics, edited in Marketo", LEAD, NONE, C, C, DYNAMICS, "marketo"),
    Case("7 edited in Dynamics, cleared in Marketo", LEAD, B, NONE, NONE, DYNAMICS, "marketo"),
    Case("8 cleared in Dynamics, edited in Marketo", CONTACT, NONE, C, NONE, MARKETO, "dynamics"),
    Case("9 edited in Dynamics, cleared in Marketo", CONTACT, B, NONE, B, MARKETO, "dynamics"),
    Case("10 cleared in Dynamics", LEAD, NONE, {}, NONE, MARKETO),
    Case("10 cleared in Dynamics", CONTACT, NONE, {}, NONE, MARKETO),
    Case("11 cleared on both", LEAD, NONE, NONE, NONE),
    Case("11 cleared on both", CONTACT, NONE, NONE, NONE),
    Case("12 different fields", LEAD, B, {"city": "Q"}, {"title": "B", "city": "Q"}, ("to_dynamics", "to_marketo")),
    Case("12 different fields", CONTACT, B, {"city": "Q"}, {"title": "B", "city": "Q"}, ("to_dynamics", "to_marketo")),
    Case("R35 a null base is an agreed value", LEAD, B, C, C, DYNAMICS, "marketo", base=EMPTY),
    Case("R35 a null base is an agreed value", CONTACT, B, C, B, MARKETO, "dynamics", base=EMPTY),
    Case("R39 changed and changed back", CONTACT, A, {}, A, detour={"title": "for a moment"}),
    Case("R45 case matters", CONTACT, {}, {"title": "a"}, {"title": "a"}, DYNAMICS),
    Case("R46 filled in Dynamics", LEAD, B, {}, B, MARKETO, base=EMPTY),
    Case("R46 filled in Dynamics", LEAD, {"phone": "1"}, {}, {"phone": "1"}, MARKETO),
    Case("R48 cleared in Marketo", LEAD, {}, NONE, NONE, DYNAMICS),
    Case("R48 cleared in Marketo", CONTACT, {}, NONE, NONE, DYNAMICS),
    Case("R49 untouched fields stay", LEAD, B, {}, {"title": "B", "city": "P"}, MARKETO),
)
