"""Any sequence of edits, deletions, merges, whole cycles, cut cycles and refusals ends where a plain reading of the rules says.

The machine keeps a model of its own: base and standing differences as the oracle moves them, what becomes of accounts and of the
companies that people stand behind, and the list of writes that must stand in the ledger, each once. All examples share a world
and bring records of their own.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.three_way_merge import Rule, Seen, compared, outcomes
from dynsync_pipeline_tests.properties.effort import is_deep, story, tally
from dynsync_pipeline_tests.worlds.every_type import (
    ENTERED,
    POOLS,
    column_of,
    compared_on_both_sides,
    in_marketo,
)
from dynsync_pipeline_tests.worlds.every_type import (
    RULES as EVERY_TYPE,
)
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.oracle_accounts import Companies, Told
from dynsync_pipeline_tests.worlds.oracle_companies import (
    OF_COMPANIES,
    company_on,
    compared_account,
    edit_company,
    map_with_companies,
    told,
)
from dynsync_pipeline_tests.worlds.rows import Values, as_is, refuse_nothing

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
TYPES = (LEAD, CONTACT)
OF_PEOPLE = {**EVERY_TYPE, "phone": Rule("text")}  # Marketo keeps three characters of it, where a test asks for that
RULES = OF_PEOPLE | OF_COMPANIES
RULES_OF = {LEAD: RULES, CONTACT: OF_PEOPLE}
FIELDS = map_with_companies(OF_PEOPLE)
START = {name: POOLS[rule.type][0] for name, rule in RULES.items()}
LONG: list[str | None] = ["long value", "lon", None, "A"]
TWO_WAY = [name for name, rule in RULES.items() if rule.direction == "both"]
# Foreign edits of one-way fields are tested on their own (test_oracle_agrees, test_one_way_fields).
EDITABLE = [
    (name, side)
    for name, rule in RULES.items()
    for side in ("dynamics", "marketo")
    if rule.direction in ("both", f"to_{'marketo' if side == 'dynamics' else 'dynamics'}")
]
places = st.sampled_from([0, 1])
accounts = st.sampled_from([0, 1])


class Change(NamedTuple):
    """What somebody does in a cycle's time: edits a field of a link on one side or both, an account, or a company in Marketo,
    or moves the contact.
    """

    who: str
    place: int
    name: str = ""
    values: tuple[str | None, str | None] = (None, None)  # in Dynamics, in Marketo


def changes_of(name: str, names_of: tuple[str, ...]) -> st.SearchStrategy[Change]:
    values = (LONG, LONG) if name == "phone" else [pools[RULES[name].type] for pools in ENTERED.values()]
    return st.builds(Change, st.sampled_from(names_of), places, st.just(name), st.tuples(*map(st.sampled_from, values)))


# A cycle without them would say nothing; most are edits of people, and of these most on both sides.
changes = st.lists(
    st.one_of(
        st.sampled_from(TWO_WAY).flatmap(lambda name: changes_of(name, ("both", "both", "dynamics", "marketo"))),
        st.sampled_from(EDITABLE).flatmap(lambda target: changes_of(target[0], (target[1],))),
        st.sampled_from(list(OF_COMPANIES)).flatmap(lambda name: changes_of(name, ("account", "company"))),
        st.builds(Change, st.just("move"), st.sampled_from([0, 1, 2])),
    ),
    min_size=2,
    max_size=8,
)
Expected = dict[int, dict[str, tuple[str | None, str | None]]]
WORLDS: list[MemoryWorld] = []  # one for all examples, opened by the first


class Link(StrEnum):
    """What became of a link."""

    LIVES = "lives"
    LOSES_RECORD = "its record was deleted, and no cycle has seen it"
    LOSES_PERSON = "its person was deleted or merged away, and no cycle has seen it"
    HAS_NO_RECORD = "its record is gone"
    HAS_NO_PERSON = "its person is gone"
    IS_NEW = "its record was edited after that, and has a new person"


def shortened(name: str, value: str | None) -> str | None:
    return value[:3] if value and name == "phone" else value


def refuse_all(key: str, values: Values) -> ApiError | None:
    return RequestRefused("no", system="either", request="write", code="refused")


class SyncMachine(RuleBasedStateMachine):
    """A lead and a contact, edited on both sides between cycles of every kind, and two accounts for the contact."""

    @initialize(has_text=st.booleans())
    def two_links_that_agree(self, has_text: bool) -> None:
        """The lead with company text or without, so that its person stands behind a company of its own or behind none."""
        if not WORLDS:
            WORLDS.append(MemoryWorld(FIELDS))
        self.world = WORLDS[0]
        self.n_refusals = self.n_collisions = 0
        n = len(self.world.marketo.rows)
        self.record_ids = [f"x{n}-{kind}" for kind in TYPES]
        starts = [{name: START[name] for name in (RULES if has_text else OF_PEOPLE)}, {n: START[n] for n in OF_PEOPLE}]
        self.people = [
            self.world.link(kind, record_id, **start)
            for kind, record_id, start in zip(TYPES, self.record_ids, starts, strict=True)
        ]
        self.companies = Companies(self.world, [f"x{n}-a0", f"x{n}-a1"], self.record_ids, self.people)
        self.world.cycle()
        self.links = [Link.LIVES, Link.LIVES]
        self.base = [
            {name: compared(start.get(name), rule.type) for name, rule in RULES_OF[kind].items()}
            for kind, start in zip(TYPES, starts, strict=True)
        ]
        self.standing: list[dict[str, tuple[str | None, str | None]]] = [{}, {}]
        self.writes: list[tuple[int, str, str, str | None]] = []

    def teardown(self) -> None:
        if hasattr(self, "n_collisions"):
            tally(self.n_collisions)

    # -- what people do --------------------------------------------------------------------------------------------

    def somebody_edits(self, place: int, edit: tuple[str, str, str | None]) -> None:
        name, side, value = edit
        if name not in RULES_OF[TYPES[place]]:
            return  # a contact has no company text of its own (R22)
        if side == "dynamics":
            if self.links[place] in (Link.LIVES, Link.LOSES_PERSON, Link.HAS_NO_PERSON):
                self.world.dynamics.put(TYPES[place], self.record_ids[place], **{column_of(name): value})
        elif self.links[place] is not Link.IS_NEW and self.world.marketo.is_there(self.people[place]):
            if name in OF_COMPANIES:
                edit_company(self.world.marketo, self.people[place], **{name: value})
            else:
                self.world.marketo.put(self.people[place], **{name: in_marketo(value, RULES[name].type)})

    def people_change(self, changes: list[Change]) -> None:
        for change in changes:
            if change.who == "move":
                if self.links[1] is Link.LIVES:
                    self.companies.move_contact(change.place if change.place < 2 else None)
            elif change.who == "account":
                self.companies.edit_account(change.place, change.name, change.values[0])
            elif change.who == "company":
                self.companies.edit_company(change.place, change.name, change.values[1])
            else:
                for side, value in zip(("dynamics", "marketo"), change.values, strict=True):
                    if change.who in ("both", side):
                        self.somebody_edits(change.place, (change.name, side, value))

    @rule(place=accounts)
    def somebody_ends_an_account_or_brings_it_back(self, place: int) -> None:
        self.companies.end_account_or_bring_it_back(place)

    @rule(place=places)
    def somebody_deletes_a_record(self, place: int) -> None:
        if self.links[place] is Link.LIVES:
            self.world.dynamics.delete(TYPES[place], self.record_ids[place])
            self.links[place] = Link.LOSES_RECORD

    @rule(place=places)
    def somebody_deletes_a_person(self, place: int) -> None:
        if self.links[place] is Link.LIVES:
            self.world.marketo.delete(self.people[place])
            self.links[place] = Link.LOSES_PERSON

    @rule(loser=places)
    def somebody_merges_the_people(self, loser: int) -> None:
        if self.links == [Link.LIVES, Link.LIVES]:
            self.world.marketo.merge(self.people[1 - loser], self.people[loser])
            self.links[loser] = Link.LOSES_PERSON

    # -- cycles ----------------------------------------------------------------------------------------------------

    @rule(changes=changes, is_lossy=st.booleans())
    def a_cycle_completes(self, changes: list[Change], is_lossy: bool) -> None:
        self.people_change(changes)
        before, told_of = self.companies.newest_entry(), self.expect_companies(refusing=None)
        expected = self.expected(refusing=None, is_lossy=is_lossy)
        self.world.marketo.keeps = shortened if is_lossy else as_is
        self.run_cycle()
        self.world.marketo.keeps = as_is
        self.check(expected)
        self.companies.check(expected)
        assert self.companies.told(before) == told_of
        plan = self.world.cycle()
        assert plan is not None
        assert plan.n_operations == 0, "a second cycle is quiet"

    @rule(changes=changes, cuts=st.lists(st.integers(3, 60), min_size=1, max_size=2))
    def a_cycle_is_cut_and_repeated(self, changes: list[Change], cuts: list[int]) -> None:
        self.people_change(changes)
        self.expect_companies(refusing=None)
        expected = self.expected(refusing=None, is_lossy=False)
        for cut_after in cuts:
            self.world.clock += timedelta(days=2)
            self.world.cycle(cut_after=cut_after)
        self.run_cycle()
        self.check(expected)
        self.companies.check(expected)

    @precondition(lambda self: self.n_refusals < 3)  # more often would end in quarantine
    @rule(changes=changes, system=st.sampled_from(["dynamics", "marketo"]))
    def a_system_refuses_everything(self, changes: list[Change], system: str) -> None:
        self.people_change(changes)
        self.n_refusals += 1
        self.expect_companies(refusing=system)
        expected = self.expected(refusing=system, is_lossy=False)
        getattr(self.world, system).refuses = refuse_all
        self.run_cycle()
        getattr(self.world, system).refuses = refuse_nothing
        self.check(expected)

    def run_cycle(self) -> None:
        self.world.clock += timedelta(days=2)  # whatever waits is due
        plan = self.world.cycle()
        assert plan is not None
        self.n_collisions += plan.n_collisions

    # -- what must come out ----------------------------------------------------------------------------------------

    def expect_companies(self, *, refusing: str | None) -> Told:
        living = [place for place in (0, 1) if self.links[place] is Link.LIVES]
        n_contacts = int(self.links[1] in (Link.LIVES, Link.IS_NEW))
        return self.companies.expect(living, n_contacts=n_contacts, refusing=refusing)

    def expected(self, *, refusing: str | None, is_lossy: bool) -> Expected:
        """Where the rules lead the links that live; moves the model there."""
        after: Expected = {}
        for place, record_type in enumerate(TYPES):
            if self.links[place] is not Link.LIVES:
                self.move_on(place, refusing)
                continue
            held = self.all_held(place)
            seen = {
                name: Seen(self.base[place][name], *held[name], standing=self.standing[place].get(name))
                for name in held
            }
            values = {}
            for name, outcome in outcomes(record_type, RULES_OF[record_type], seen).items():
                dynamics, marketo = held[name]
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
            after[place] = values
        return after

    def move_on(self, place: int, refusing: str | None) -> None:
        """Where the rules lead a link that ended (R79, R81): whatever the person never got of its record brings one back."""
        if self.links[place] is Link.LOSES_RECORD:
            self.links[place] = Link.HAS_NO_RECORD
        elif self.links[place] in (Link.LOSES_PERSON, Link.HAS_NO_PERSON):
            is_revived = self.is_ahead_of_its_person(place) and refusing != "marketo"
            self.links[place] = Link.IS_NEW if is_revived else Link.HAS_NO_PERSON

    def is_ahead_of_its_person(self, place: int) -> bool:
        """Whether the record differs, in a field that goes to Marketo, from what its person last had in common with it."""
        row = self.world.dynamics.rows[TYPES[place], self.record_ids[place]].values
        for name, kind in RULES_OF[TYPES[place]].items():
            halves = self.standing[place].get(name, (self.base[place][name], None))
            if kind.direction != "to_dynamics" and compared(row.get(column_of(name)), kind.type) != halves[0]:
                return True
        return False

    def all_held(self, place: int) -> dict[str, tuple[str | None, str | None]]:
        """Both sides' values of now, as they compare."""
        held = {
            name: compared_on_both_sides(self.world.both(self.people[place], name), rule.type)
            for name, rule in OF_PEOPLE.items()
        }
        if TYPES[place] is LEAD:
            record = compared_account(self.world.dynamics.rows[LEAD, self.record_ids[place]].values)
            person = company_on(self.world.marketo, self.people[place])
            held |= {name: (record[name], person[name]) for name in OF_COMPANIES}
        return held

    # -- looking ---------------------------------------------------------------------------------------------------

    def check(self, expected: Expected) -> None:
        assert {place: self.all_held(place) for place in expected} == expected
        rows = self.world.rows(
            "select person_id, field, direction, new_value from ledger.changes where person_id in (?, ?)", *self.people
        )
        told = [(self.people.index(row[0]), *row[1:3], canonical(row[1], row[3])) for row in rows if row[1] in RULES]
        assert sorted(told, key=repr) == sorted(self.writes, key=repr), "the ledger tells each write once"
        for place, link in enumerate(self.links):
            self.check_link(place, link)

    def check_link(self, place: int, link: Link) -> None:
        key = KEYS.contact_id if TYPES[place] is CONTACT else KEYS.lead_id
        linked = self.world.rows("select person_id from state.links where dynamics_id = ?", self.record_ids[place])
        bearers = self.world.marketo.bearers(key, self.record_ids[place])
        if link is Link.LIVES:
            assert linked == [(self.people[place],)]
        elif link is Link.IS_NEW:
            assert linked == [(bearers[0],)]
            assert len(bearers) == 1, "created once"
            self.check_new_person(place, bearers[0])
        else:
            assert linked == []
            assert bearers == ([self.people[place]] if link is Link.HAS_NO_RECORD else [])

    def check_new_person(self, place: int, person_id: int) -> None:
        """R81: it shows what its record holds, whatever the one before it showed."""
        row = self.world.dynamics.rows[TYPES[place], self.record_ids[place]].values
        person = self.world.marketo.rows[person_id].values
        for name, kind in OF_PEOPLE.items():
            if kind.direction != "to_dynamics":
                dynamics, marketo = compared_on_both_sides((row.get(column_of(name)), person.get(name)), kind.type)
                assert marketo in (dynamics, shortened(name, dynamics))
        if TYPES[place] is LEAD:
            assert company_on(self.world.marketo, person_id) == compared_account(row)

    @invariant()
    def nobody_is_doubled(self) -> None:
        if WORLDS:
            rows = (
                "select count(*) - count(distinct person_id), count(*) - count(distinct dynamics_id) from state.links"
            )
            assert WORLDS[0].rows(rows) == [(0, 0)]


def canonical(name: str, value: str | None) -> str | None:
    return told(value, RULES[name].type)


TestMachine = story(SyncMachine.TestCase)
if not is_deep():
    TestMachine.settings = settings(max_examples=4, stateful_step_count=8)
