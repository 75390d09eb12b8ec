"""The SQL rules and a slow, plain reading of the rules' text decide alike on random links."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.companies import key_of_lead
from dynsync_pipeline_tests.oracles.three_way_merge import Outcome, Rule, Seen, compared, normalised, outcomes
from dynsync_pipeline_tests.properties.effort import examples, tally
from dynsync_pipeline_tests.worlds.every_type import POOLS, RULES, column_of, in_marketo
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, read_all
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.oracle_companies import OF_COMPANIES, compared_company, is_text, map_with_companies
from dynsync_pipeline_tests.worlds.rows import sent_values

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
# Company text of a lead, of every type, and as a field map may have it.
OF_LEADS = {
    **OF_COMPANIES,
    "employees": Rule("integer", "to_dynamics"),
    "turnover": Rule("decimal", collision="dynamics"),
    "industry": Rule("choice", "to_marketo"),
    "markets": Rule("choices", collision="review"),
}
ALL = CHOSEN | OF_LEADS
FIELDS = map_with_companies(CHOSEN, OF_LEADS)
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


class Drawn(NamedTuple):
    """A link; `has_company`: its person stands behind a company of its own, and not behind one without a key."""

    record_type: RecordType
    fields: dict[str, Seen]
    has_company: bool

    @property
    def rules(self) -> dict[str, Rule]:
        return {name: ALL[name] for name in self.fields}


def of_type(record_type: RecordType) -> st.SearchStrategy[Drawn]:
    rules = ALL if record_type is RecordType.LEAD else CHOSEN
    fields = st.fixed_dictionaries({name: seen_fields(rule) for name, rule in rules.items()})
    silent = st.sampled_from([(), ("dynamics",), ("marketo",), ("dynamics", "marketo")])
    return st.builds(Drawn, st.just(record_type), st.builds(without_text, fields, silent), st.booleans())


def without_text(fields: dict[str, Seen], silent: tuple[str, ...]) -> dict[str, Seen]:
    """These fields where these sides have no company text at all, as most have."""
    blank: dict[str, Any] = dict.fromkeys(silent)
    return {name: replace(seen, **blank) if name in OF_LEADS else seen for name, seen in fields.items()}


links = st.sampled_from([RecordType.LEAD, RecordType.CONTACT]).flatmap(of_type)


@dataclass
class Reused:
    """One world for all examples: each empties what the last one left."""

    world: MemoryWorld

    def planned(self, drawn: list[Drawn]) -> list[dict[str, Outcome]]:
        """What the rules in SQL decide about these links."""
        world = self.world
        times = ("dynamics_edits", "marketo_edits")
        for table in ("links", "base", "base_missing", "standing_differences", "unsettled", "reviews", *times):
            world.rows(f"delete from state.{table}")
        mirrors = ("dynamics_contacts", "dynamics_leads", "marketo_people", "marketo_companies")
        for table in ("inbox.touched", *(f"mirror.{name}" for name in mirrors)):
            world.rows(f"delete from {table}")
        world.dynamics.rows.clear()
        world.marketo.rows.clear()
        world.marketo.company_rows.clear()
        for place, (record_type, fields, has_company) in enumerate(drawn):
            key = KEYS.contact_id if record_type is RecordType.CONTACT else KEYS.lead_id
            world.dynamics.put(record_type, f"r{place}", **{column_of(n): seen.dynamics for n, seen in fields.items()})
            shown = {name: in_marketo(seen.marketo, ALL[name].type) for name, seen in fields.items()}
            if record_type is RecordType.LEAD and has_company:
                of_company = {name: shown.pop(name) for name in OF_LEADS}
                world.marketo.put_company(f"lead:r{place}", **of_company)
                shown[COMPANY_KEY] = f"lead:r{place}"
            world.marketo.put(place, **{key: f"r{place}"}, **world.told_of(record_type, f"r{place}"), **shown)
            self._remember(place, record_type, fields)
        with world.opened() as cycle:
            read_all(cycle)
            self._tell_times(drawn)
            tally(cycle.reconcile().n_collisions)
        return [self._decided(place, link.fields) for place, link in enumerate(drawn)]

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
                kind = ALL[name].type
                reason = "one_way_edited" if seen.is_foreign else "kept_by_marketo"
                halves = [compared(half, kind) for half in seen.standing]
                rows(
                    "insert into state.standing_differences values (?, ?, ?, ?, ?, now()::timestamp)",
                    *(person_id, name, *halves, reason),
                )

    def _tell_times(self, drawn: list[Drawn]) -> None:
        """Which side was edited later, by an hour."""
        for person_id, (record_type, fields, _) in enumerate(drawn):
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
                    *(person_id, name, normalised(seen.marketo, ALL[name].type)),
                )

    def company_planned(self, place: int, held: str | None) -> tuple[str | None, dict[str, str | None]]:
        """The key of the company that a lead's person is to stand behind, and what the plan writes to it, as it compares."""
        rows = self.world.rows(
            "select body from reconcile.operations where action = 'company' and company_key = ?", f"lead:r{place}"
        )
        keys = self.world.rows(
            "select c.new_value from reconcile.operations join reconcile.planned_changes c using (operation_id) "
            "where person_id = ? and system = 'marketo' and c.field = ?",
            place,
            COMPANY_KEY,
        )
        body = sent_values(json.loads(rows[0][0], parse_int=str, parse_float=str)) if rows else {}
        written = compared_company(body)
        return keys[0][0] if keys else held, {name: written[name] for name in body if name != COMPANY_KEY}

    def _decided(self, person_id: int, fields: dict[str, Seen]) -> dict[str, Outcome]:
        decided = dict.fromkeys(fields, Outcome())
        for system, name, base_after, rule, winner in self.world.rows(
            "select system, c.field, c.base_after, c.rule_code, winner from reconcile.operations "
            "join reconcile.planned_changes c using (operation_id) "
            "left join reconcile.planned_collisions k using (operation_id, field) where person_id = ? and c.field <> ?",
            person_id,
            COMPANY_KEY,
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


@examples(7)
@given(drawn=st.lists(links, min_size=1, max_size=20))
def test_sql_and_oracle_decide_alike(reused: Reused, drawn: list[Drawn]) -> None:
    """Which system is written, with what value, who won a collision, and whether there was a base (R37)."""
    expected = [outcomes(link.record_type, link.rules, link.fields) for link in drawn]
    planned = reused.planned(drawn)
    for place, (link, slow, fast) in enumerate(zip(drawn, expected, planned, strict=True)):
        for name, seen in link.fields.items():
            # One-way rules name their own number also at a first meeting.
            is_no_base = fast[name].is_no_base if ALL[name].direction == "both" else slow[name].is_no_base
            told = replace(fast[name], is_no_base=is_no_base)
            assert told == slow[name], f"{name} of a {link.record_type}: {seen}"
        if link.record_type is RecordType.LEAD:
            assert_company(reused, place, link, slow)


def assert_company(reused: Reused, place: int, link: Drawn, outcome: dict[str, Outcome]) -> None:
    """R131: a lead's person gets a company of its own once either side has text, and all that it shows moves along."""
    held = f"lead:r{place}" if link.has_company else None
    sides = [(name, side) for name in OF_LEADS for side in (link.fields[name].dynamics, link.fields[name].marketo)]
    has_text = any(is_text(compared(side, OF_LEADS[name].type), name) for name, side in sides)
    wanted = key_of_lead(f"r{place}", held, has_text=has_text, has_company=link.has_company)
    key, written = reused.company_planned(place, held)
    assert key == wanted
    for name, rule in OF_LEADS.items():
        shown = compared(link.fields[name].marketo, rule.type)
        after = outcome[name].value if outcome[name].write_marketo else shown
        if outcome[name].write_marketo:
            assert compared(written[name], rule.type) == compared(after, rule.type), f"{name}: {link.fields[name]}"
        elif link.has_company or wanted is None:
            assert name not in written
        else:
            assert written.get(name, compared(None, rule.type)) == after, f"{name}: {link.fields[name]}"


@examples(4)
@given(drawn=st.lists(links, min_size=1, max_size=15))
def test_looking_settles_exactly_what_is_equal(reused: Reused, drawn: list[Drawn]) -> None:
    """R38: equal values move the base in the plan's own transaction, and nothing that differs does."""
    reused.planned(drawn)
    for place, link in enumerate(drawn):
        for name, seen in link.fields.items():
            kind = ALL[name].type
            dynamics, marketo = compared(seen.dynamics, kind), compared(seen.marketo, kind)
            base = reused.world.base(place, name)
            if dynamics == marketo:
                assert compared(base, kind) == dynamics
            elif seen.has_base:
                assert compared(base, kind) == compared(seen.base, kind)
