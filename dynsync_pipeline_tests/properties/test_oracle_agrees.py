"""The SQL rules and a slow, plain reading of the rules' text decide alike on random links."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.three_way_merge import Outcome, Rule, Seen, compared, normalised, outcomes
from dynsync_pipeline_tests.properties.effort import examples, tally
from dynsync_pipeline_tests.worlds.every_type import POOLS, RULES, column_of, in_marketo, line_of
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

# A field for each rule of the field map beside those of every type.
CHOSEN = {
    **RULES,
    "by_dynamics": Rule(collision="dynamics"),
    "by_marketo": Rule("integer", collision="marketo"),
    "by_time": Rule(collision="newest"),
    "kept": Rule("choice", collision="never_clear"),
    "reviewed": Rule(collision="review"),
    "opted_out": Rule("boolean", collision="restrictive", forbids="true"),
    "opted_in": Rule("boolean", collision="restrictive", forbids="false"),
}
FIELDS = field_map(*(line_of(name, rule) for name, rule in CHOSEN.items()))
FIRST_MEETING = ("blank_filled", "first_meeting_marketo_wins", "first_meeting_dynamics_wins")


@st.composite
def seen_fields(draw: st.DrawFn, rule: Rule) -> Seen:
    """One field of one link: mostly with a base, sometimes with a standing difference, as cycles can leave them."""
    seen = draw(_seen(rule))
    if rule.collision != "newest":
        return seen
    return replace(seen, later=draw(st.sampled_from([None, "dynamics", "marketo"])))


@st.composite
def _seen(draw: st.DrawFn, rule: Rule) -> Seen:
    values = st.sampled_from(POOLS[rule.type])
    dynamics, marketo = draw(values), draw(values)
    kind = draw(st.sampled_from(["base", "base", "base", "none", "lossy", "lossy", "foreign"]))
    if kind == "none":
        return Seen(None, dynamics, marketo, has_base=False)
    halves = (draw(values), draw(values))
    canonical = tuple(normalised(half, rule.type) for half in halves)
    is_standing = compared(halves[0], rule.type) != compared(halves[1], rule.type)
    if kind == "base" or not is_standing or (kind == "foreign" and rule.direction == "both"):
        return Seen(canonical[0], dynamics, marketo)
    owner = {"to_marketo": 0, "to_dynamics": 1, "both": draw(st.integers(0, 1))}[rule.direction]
    if draw(st.booleans()):  # the usual case: at most one side moved since
        dynamics, marketo = draw(st.sampled_from([halves, (dynamics, halves[1]), (halves[0], marketo)]))
    return Seen(
        canonical[owner], dynamics, marketo, standing=(canonical[0], canonical[1]), is_foreign=kind == "foreign"
    )


links = st.tuples(
    st.sampled_from([RecordType.LEAD, RecordType.CONTACT]),
    st.fixed_dictionaries({name: seen_fields(rule) for name, rule in CHOSEN.items()}),
)


@dataclass
class Reused:
    """One world for all examples: each empties what the last one left."""

    world: MemoryWorld

    def planned(self, drawn: list[tuple[RecordType, dict[str, Seen]]]) -> list[dict[str, Outcome]]:
        """What the rules in SQL decide about these links."""
        world = self.world
        times = ("dynamics_edits", "marketo_edits")
        for table in ("links", "base", "base_missing", "standing_differences", "unsettled", "reviews", *times):
            world.rows(f"delete from state.{table}")
        for table in ("mirror.dynamics_contacts", "mirror.dynamics_leads", "mirror.marketo_people", "inbox.touched"):
            world.rows(f"delete from {table}")
        world.dynamics.rows.clear()
        world.marketo.rows.clear()
        for place, (record_type, fields) in enumerate(drawn):
            key = KEYS.contact_id if record_type is RecordType.CONTACT else KEYS.lead_id
            world.dynamics.put(record_type, f"r{place}", **{column_of(n): seen.dynamics for n, seen in fields.items()})
            world.marketo.put(
                place,
                **{key: f"r{place}"},
                **world.told_of(record_type, f"r{place}"),
                **{name: in_marketo(seen.marketo, CHOSEN[name].type) for name, seen in fields.items()},
            )
            self._remember(place, record_type, fields)
        with world.opened() as cycle:
            read_all(cycle)
            self._tell_times(drawn)
            tally(cycle.reconcile().n_collisions)
        return [self._decided(place, fields) for place, (_, fields) in enumerate(drawn)]

    def _remember(self, person_id: int, record_type: RecordType, fields: dict[str, Seen]) -> None:
        rows = self.world.rows
        rows("insert into state.links values (?, ?, ?, now()::timestamp)", person_id, record_type, f"r{person_id}")
        names, marks = ", ".join(f'"{name}"' for name in fields), ", ?" * len(fields)
        bases = [seen.base for seen in fields.values()]
        rows(f"insert into state.base (person_id, {names}) values (?{marks})", person_id, *bases)
        for name, seen in fields.items():
            if not seen.has_base:
                rows("insert into state.base_missing values (?, ?)", person_id, name)
            if seen.standing is not None:
                kind = CHOSEN[name].type
                reason = "one_way_edited" if seen.is_foreign else "kept_by_marketo"
                halves = [compared(half, kind) for half in seen.standing]
                rows(
                    "insert into state.standing_differences values (?, ?, ?, ?, ?, now()::timestamp)",
                    *(person_id, name, *halves, reason),
                )

    def _tell_times(self, drawn: list[tuple[RecordType, dict[str, Seen]]]) -> None:
        """Which side was edited later, by an hour."""
        for person_id, (record_type, fields) in enumerate(drawn):
            for name, seen in fields.items():
                if seen.later is None:
                    continue
                hour = {"dynamics": 9, "marketo": 11}[seen.later]
                self.world.rows(
                    "insert into state.dynamics_edits values (?, ?, ?, '2026-01-01 10:00', '2026-01-01 10:01')",
                    *(record_type, f"r{person_id}", name),
                )
                self.world.rows(
                    f"insert into state.marketo_edits values (?, ?, ?, '2026-01-01 {hour:02}:00')",
                    *(person_id, name, normalised(seen.marketo, CHOSEN[name].type)),
                )

    def _decided(self, person_id: int, fields: dict[str, Seen]) -> dict[str, Outcome]:
        decided = dict.fromkeys(fields, Outcome())
        for system, name, base_after, rule, winner in self.world.rows(
            "select system, c.field, c.base_after, c.rule_code, winner from reconcile.operations "
            "join reconcile.planned_changes c using (operation_id) "
            "left join reconcile.planned_collisions k using (operation_id, field) where person_id = ?",
            person_id,
        ):
            assert decided[name] == Outcome(), "a field is written once"
            decided[name] = Outcome(
                system == "dynamics", system == "marketo", base_after, winner, rule in FIRST_MEETING
            )
        return decided


@pytest.fixture(scope="module")
def reused() -> Reused:
    world = MemoryWorld(FIELDS, is_optimised=True)
    world.cycle()  # makes the columns and views of the field map
    return Reused(world)


@examples(15)
@given(drawn=st.lists(links, min_size=1, max_size=15))
def test_sql_and_oracle_decide_alike(reused: Reused, drawn: list[tuple[RecordType, dict[str, Seen]]]) -> None:
    """Which system is written, with what value, who won a collision, and whether there was a base (R37)."""
    expected = [outcomes(record_type, CHOSEN, fields) for record_type, fields in drawn]
    planned = reused.planned(drawn)
    for (record_type, fields), slow, fast in zip(drawn, expected, planned, strict=True):
        for name in fields:
            # One-way rules name their own number also at a first meeting.
            is_no_base = fast[name].is_no_base if CHOSEN[name].direction == "both" else slow[name].is_no_base
            told = replace(fast[name], is_no_base=is_no_base)
            assert told == slow[name], f"{name} of a {record_type}: {fields[name]}"


@examples(5)
@given(drawn=st.lists(links, min_size=1, max_size=15))
def test_looking_settles_exactly_what_is_equal(reused: Reused, drawn: list[tuple[RecordType, dict[str, Seen]]]) -> None:
    """R38: equal values move the base in the plan's own transaction, and nothing that differs does."""
    reused.planned(drawn)
    for place, (_, fields) in enumerate(drawn):
        for name, seen in fields.items():
            kind = CHOSEN[name].type
            dynamics, marketo = compared(seen.dynamics, kind), compared(seen.marketo, kind)
            base = reused.world.base(place, name)
            if dynamics == marketo:
                assert compared(base, kind) == dynamics
            elif seen.has_base:
                assert compared(base, kind) == compared(seen.base, kind)
