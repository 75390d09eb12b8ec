"""Any sequence of edits, whole cycles, cut cycles and refusals ends where the plain reading of the rules says.

The machine keeps a model of its own: base and standing differences as the oracle moves them, and the list of writes that
must stand in the ledger, each once. All examples share a world and bring links of their own.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.three_way_merge import Rule, Seen, compared, outcomes
from dynsync_pipeline_tests.reconcile.world import Values, World, as_is, field_map, refuse_nothing

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
RULES = {
    "title": Rule("text", "both"),
    "phone": Rule("text", "both"),  # Marketo keeps three characters of it, where a test asks for that
    "flag": Rule("boolean", "both"),
    "source": Rule("text", "to_marketo"),
    "score": Rule("integer", "to_dynamics"),
}
COLUMNS = {name: f"new_{name}" for name in RULES}
FIELDS = field_map(*(f"{name},{COLUMNS[name]},{rule.type},{rule.direction},true" for name, rule in RULES.items()))
# Foreign edits of one-way fields are tested on their own (test_oracle_agrees, test_one_way_fields).
EDITABLE = [(name, side) for name in ("title", "phone", "flag") for side in ("dynamics", "marketo")]
EDITABLE += [("source", "dynamics"), ("score", "marketo")]
POOLS = {
    "text": st.sampled_from(["A", "B", "long value", "lon", "", None]),
    "boolean": st.sampled_from(["true", "false", None]),
    "integer": st.sampled_from(["1", "2", None]),
}
edits = st.sampled_from(EDITABLE).flatmap(
    lambda target: st.tuples(st.just(target[0]), st.just(target[1]), POOLS[RULES[target[0]].type])
)
places = st.sampled_from([0, 1])
TYPES = (LEAD, CONTACT)
WORLDS: list[World] = []  # one for all examples, opened by the first


def shortened(name: str, value: str | None) -> str | None:
    return value[:3] if value and name == "phone" else value


def refuse_all(key: str, values: Values) -> ApiError | None:
    return RequestRefused("no", system="either", request="write", code="refused")


class SyncMachine(RuleBasedStateMachine):
    """A lead and a contact, edited on both sides between cycles of every kind."""

    @initialize()
    def two_links_that_agree(self) -> None:
        if not WORLDS:
            WORLDS.append(World(FIELDS))
        self.world = WORLDS[0]
        start = {"title": "A", "phone": "A", "flag": None, "source": "A", "score": "1"}
        self.n_refusals = 0
        self.record_ids = [f"x{len(self.world.marketo.rows)}-{kind}" for kind in TYPES]
        self.people = [
            self.world.link(kind, record_id, **start) for kind, record_id in zip(TYPES, self.record_ids, strict=True)
        ]
        self.world.cycle()
        self.base = [{name: compared(value, RULES[name].type) for name, value in start.items()} for _ in TYPES]
        self.standing: list[dict[str, tuple[str | None, str | None]]] = [{}, {}]
        self.writes: list[tuple[int, str, str, str | None]] = []

    @rule(place=places, edit=edits)
    def somebody_edits(self, place: int, edit: tuple[str, str, str | None]) -> None:
        name, side, value = edit
        if side == "dynamics":
            self.world.dynamics.put(TYPES[place], self.record_ids[place], **{COLUMNS[name]: value})
        else:
            self.world.marketo.put(self.people[place], **{name: value})

    @rule(is_lossy=st.booleans())
    def a_cycle_completes(self, is_lossy: bool) -> None:
        expected = self.expected(refusing=None, is_lossy=is_lossy)
        self.world.marketo.keeps = shortened if is_lossy else as_is
        self.run_cycle()
        self.world.marketo.keeps = as_is
        self.check(expected)
        plan = self.world.cycle()
        assert plan is not None
        assert plan.n_operations == 0, "a second cycle is quiet"

    @rule(cuts=st.lists(st.integers(3, 34), min_size=1, max_size=2))
    def a_cycle_is_cut_and_repeated(self, cuts: list[int]) -> None:
        expected = self.expected(refusing=None, is_lossy=False)
        for cut_after in cuts:
            self.world.clock += timedelta(days=2)
            self.world.cycle(cut_after=cut_after)
        self.run_cycle()
        self.check(expected)

    @precondition(lambda self: self.n_refusals < 3)  # more often would end in quarantine
    @rule(system=st.sampled_from(["dynamics", "marketo"]))
    def a_system_refuses_everything(self, system: str) -> None:
        self.n_refusals += 1
        expected = self.expected(refusing=system, is_lossy=False)
        getattr(self.world, system).refuses = refuse_all
        self.run_cycle()
        getattr(self.world, system).refuses = refuse_nothing
        self.check(expected)

    def run_cycle(self) -> None:
        self.world.clock += timedelta(days=2)  # whatever waits is due
        assert self.world.cycle() is not None

    def expected(self, *, refusing: str | None, is_lossy: bool) -> list[dict[str, tuple[str | None, str | None]]]:
        """Where the rules lead from here; moves the model there."""
        after = []
        for place, record_type in enumerate(TYPES):
            seen = {
                name: Seen(self.base[place][name], *self.held(place, name), standing=self.standing[place].get(name))
                for name in RULES
            }
            values = {}
            for name, outcome in outcomes(record_type, RULES, seen).items():
                dynamics, marketo = self.held(place, name)
                system = "dynamics" if outcome.write_dynamics else "marketo" if outcome.write_marketo else None
                if system is not None and system != refusing:
                    self.writes.append((place, name, f"to_{system}", outcome.value))
                    dynamics = outcome.value if system == "dynamics" else dynamics
                    if system == "marketo":
                        marketo = shortened(name, outcome.value) if is_lossy else outcome.value
                    self.base[place][name] = outcome.value
                    self.standing[place].pop(name, None)
                    if dynamics != marketo:
                        self.standing[place][name] = (dynamics, marketo)
                elif dynamics == marketo:
                    self.base[place][name] = dynamics
                    self.standing[place].pop(name, None)
                values[name] = (dynamics, marketo)
            after.append(values)
        return after

    def held(self, place: int, name: str) -> tuple[str | None, str | None]:
        dynamics, marketo = self.world.both(self.people[place], name)
        return compared(dynamics, RULES[name].type), compared(marketo, RULES[name].type)

    def check(self, expected: list[dict[str, tuple[str | None, str | None]]]) -> None:
        held = [{name: self.held(place, name) for name in RULES} for place in (0, 1)]
        assert held == expected
        rows = self.world.rows(
            "select person_id, field, direction, new_value from ledger.changes where person_id in (?, ?)", *self.people
        )
        told = [(self.people.index(row[0]), row[1], row[2], compared(row[3], RULES[row[1]].type)) for row in rows]
        assert sorted(told, key=repr) == sorted(self.writes, key=repr), "the ledger tells each write once"

    @invariant()
    def nobody_is_doubled(self) -> None:
        if WORLDS:
            assert self.world.rows("select person_id from state.links group by person_id having count(*) > 1") == []


TestMachine = SyncMachine.TestCase
TestMachine.settings = settings(
    max_examples=6, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
