"""A write whose answer was lost is judged value by value, by the clock of the system it went to.

Each world plays all scenarios at once, on a record each, under a host whose own clock is wrong.
Source: docs/design.md#after-a-cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.clients.dynamics.protocol import RecordWrite
from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true", "city,new_city,text,both,true")
COLUMNS = {"title": "jobtitle", "phone": "telephone1", "city": "new_city"}
MADE_OF = {"rewrite me": "rewritten", "ignore me": "1"}  # what either system makes of a value
Values = dict[str, str | None]
Change = tuple[str, str | None, str | None]


@dataclass
class Scenario:
    """What happens to a record with title A and phone 1 around a write that is cut, and how it ends.

    `entered` on the side that is not written to; `before` and `after` the write, on the side that is. `ends`: where both
    sides come to rest; `kept`: what the written side keeps differently. Of a collision the winner follows from the type.
    """

    entered: Values
    before: Values = field(default_factory=dict)
    after: Values = field(default_factory=dict)
    arrives: bool = True
    ends: Values = field(default_factory=dict)
    kept: Values = field(default_factory=dict)
    changes: Sequence[Change] = ()
    n_collisions: int = 0


OURS: Values = {"title": "Ours"}
TWO: Values = {"title": "Ours", "phone": "2"}
WRITTEN: Change = ("title", "A", "Ours")
SCENARIOS = {
    "applied, and nobody came": Scenario(TWO, ends=TWO, changes=[("phone", "1", "2"), WRITTEN]),
    "never left": Scenario(TWO, arrives=False, ends=TWO, changes=[("phone", "1", "2"), WRITTEN]),
    "never left, and met an edit": Scenario(OURS, arrives=False, after={"title": "Theirs"}, n_collisions=1),
    "one field of two edited after it": Scenario(
        TWO, after={"phone": "3"}, ends={"title": "Ours", "phone": "3"},
        changes=[("phone", "1", "2"), ("phone", "2", "3"), WRITTEN],
    ),
    "one field of two taken back after it": Scenario(
        TWO, after={"phone": "1"}, ends={"title": "Ours", "phone": "1"},
        changes=[("phone", "1", "2"), ("phone", "2", "1"), WRITTEN],
    ),
    "another field edited after it": Scenario(
        OURS, after={"city": "Rome"}, ends={"title": "Ours", "city": "Rome"},
        changes=[("city", None, "Rome"), WRITTEN],
    ),
    "one field of three rewritten": Scenario(
        {**TWO, "city": "rewrite me"}, ends=TWO, kept={"city": "rewritten"},
        changes=[("city", None, "rewrite me"), ("phone", "1", "2"), WRITTEN],
    ),
    "one field of two left as it was": Scenario(
        {"title": "Ours", "phone": "ignore me"}, ends=OURS, kept={"phone": "1"},
        changes=[("phone", "1", "ignore me"), WRITTEN],
    ),
}  # fmt: skip
ONLY_OF_MARKETO = {
    "its only field edited after it": Scenario(
        OURS, after={"title": "Later"}, ends={"title": "Later"}, changes=[WRITTEN, ("title", "Ours", "Later")]
    ),
    "its only field taken back after it": Scenario(
        OURS, after={"title": "A"}, ends={"title": "A"}, changes=[WRITTEN, ("title", "Ours", "A")]
    ),
    "its only field edited just before it": Scenario(OURS, before={"title": "Theirs"}, n_collisions=1),
}
ONLY_OF_DYNAMICS = {
    "its only field rewritten": Scenario(
        {"title": "rewrite me"}, kept={"title": "rewritten"}, changes=[("title", "A", "rewrite me")]
    ),
    "its only field edited just before it": Scenario(OURS, before={"title": "Theirs"}, n_collisions=1),
}


class CutWorld(MemoryWorld):
    """Linked records called by their scenario; whoever enters something, the other side is `side`."""

    def __init__(self, side: str, record_type: RecordType, names: Sequence[str], ahead_s: int = 0) -> None:
        super().__init__(FIELDS)
        self.host_ahead = timedelta(seconds=ahead_s)
        self.side, self.record_type = side, record_type
        self.people = {name: self.link(record_type, name, title="A", phone="1") for name in names}
        self.settled()
        self.system = self.dynamics if side == "dynamics" else self.marketo

    def edit(self, side: str, name: str, values: Values) -> None:
        """Somebody enters values in one system."""
        if values and side == "marketo":
            self.marketo.put(self.people[name], **values)
        elif values:
            self.dynamics.put(self.record_type, name, **{COLUMNS[f]: value for f, value in values.items()})

    def enter(self, name: str, values: Values) -> None:
        """Somebody enters values in the system that is not written to."""
        self.edit("marketo" if self.side == "dynamics" else "dynamics", name, values)

    def cut(self, scenarios: dict[str, Scenario], *, n_writes: int = 1) -> None:
        """A cycle that is killed when its nth write to `side` was applied, as far as it arrived."""
        method = "write" if self.side == "dynamics" else "sync_people"
        original = getattr(self.system, method)
        lost = {n for n, scenario in scenarios.items() if not scenario.arrives}
        lost |= {f'{{"id":{self.people[n]},' for n in lost} | {f'{{"id": {self.people[n]},' for n in lost}
        left = n_writes

        def killed(*arguments: Any) -> object:
            nonlocal left
            left -= 1
            if left:
                return original(*arguments)
            for name, scenario in scenarios.items():
                self.edit(self.side, name, scenario.before)
            *how, writes = arguments
            original(*how, [write for write in writes if not any(_is_of(write, name) for name in lost)])
            for name, scenario in scenarios.items():
                self.edit(self.side, name, scenario.after)
            raise Cut

        setattr(self.system, method, killed)
        assert self.cycle() is None
        delattr(self.system, method)

    def ended(self, name: str) -> Scenario:
        """How a scenario ended, in the words of a scenario."""
        person_id = self.people[name]
        both = {f: self.both(person_id, f) for f in COLUMNS}
        of_person = [row for row in self.ledger()["changes"] if row[2] == person_id]
        place = 0 if self.side == "dynamics" else 1
        return Scenario(
            {},
            ends={f: d for f, (d, m) in both.items() if d == m},
            kept={f: values[place] for f, values in both.items() if values[0] != values[1]},
            changes=sorted(((row[4], row[5], row[6]) for row in of_person), key=lambda change: change[0]),
            n_collisions=sum(row[1] == person_id for row in self.ledger()["collisions"]),
        )


def _is_of(write: RecordWrite | str, name: str) -> bool:
    return write.id == name if isinstance(write, RecordWrite) else write.startswith(name)


@pytest.mark.parametrize(
    ("side", "record_type", "ahead_s"),
    sampled(
        [
            ("marketo", LEAD, 10),
            ("dynamics", LEAD, 600),
            ("marketo", CONTACT, 600),
            ("marketo", LEAD, -600),
            ("dynamics", CONTACT, -600),
        ],
        2,
    ),
)
def test_after_a_cut_each_value_is_ours_exactly_if_it_was_applied_whatever_the_hosts_clock_says(
    side: str, record_type: RecordType, ahead_s: int
) -> None:
    scenarios = SCENARIOS | (ONLY_OF_MARKETO if side == "marketo" else ONLY_OF_DYNAMICS)
    winner = "Theirs" if (record_type is LEAD) == (side == "marketo") else "Ours"
    world = CutWorld(side, record_type, list(scenarios), ahead_s)
    world.system.keeps = lambda name, value: MADE_OF.get(value or "", value)
    for name, scenario in scenarios.items():
        world.enter(name, scenario.entered)
    world.cut(scenarios)
    world.settled()
    faults = []
    for name, scenario in scenarios.items():
        ended = world.ended(name)
        ends = {"title": winner} if scenario.n_collisions else scenario.ends
        if {f: ended.ends.get(f, "?") for f in ends} != ends or ended.kept != scenario.kept:
            faults.append(f"{name}: ends at {ended.ends}, {ended.kept}")
        if ended.n_collisions != scenario.n_collisions:
            faults.append(f"{name}: {ended.n_collisions} collisions")
        if scenario.changes and ended.changes != scenario.changes:
            faults.append(f"{name}: {ended.changes}")
    assert faults == []
    assert len(world.standing()) == sum(len(scenario.kept) for scenario in scenarios.values())


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_what_never_left_of_an_operation_that_is_sent_in_parts_is_not_lost(side: str) -> None:
    world = CutWorld(side, CONTACT, ["r"])
    no = RequestRefused("no", system=side, request="PATCH", code="400")
    world.system.refuses = lambda key, values: no if "bad" in values.values() else None
    world.enter("r", {"title": "Ours", "phone": "2", "city": "bad"})
    # Halves: Dynamics gets jobtitle at once, Marketo city, and then phone and title.
    world.cut({"r": Scenario({}, after={"title": "Later"})}, n_writes=2 if side == "dynamics" else 3)
    world.settled()
    assert world.ended("r").ends == {"title": "Later", "phone": "2"}
    assert world.errors(), "the bad value is told"
