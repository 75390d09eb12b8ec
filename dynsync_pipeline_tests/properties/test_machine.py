"""Any sequence of edits, deletions, merges in either system, leads that are qualified, whole cycles, cut cycles and refusals ends
where a plain reading of the rules says.

The machine keeps a model of its own: what became of each link (`worlds/oracle_links.py`), of accounts and of the companies that
people stand behind (`worlds/oracle_accounts.py`), and the list of writes that must stand in the ledger, each once. All examples
share a world and bring records of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story, tally
from dynsync_pipeline_tests.worlds.every_type import ENTERED
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.oracle_accounts import Companies
from dynsync_pipeline_tests.worlds.oracle_companies import OF_COMPANIES, map_with_companies
from dynsync_pipeline_tests.worlds.oracle_links import (
    CONTACT,
    ENDED,
    LEAD,
    OF_PEOPLE,
    RULES,
    Held,
    Linked,
    shortened,
)
from dynsync_pipeline_tests.worlds.rows import Values, as_is, refuse_nothing

FIELDS = map_with_companies(OF_PEOPLE)
LONG: list[str | None] = ["long value", "lon", None, "A"]
TWO_WAY = [name for name, rule in RULES.items() if rule.direction == "both"]
# Foreign edits of one-way fields are tested on their own (test_oracle_agrees, test_one_way_fields).
EDITABLE = [
    (name, side)
    for name, rule in RULES.items()
    for side in ("dynamics", "marketo")
    if rule.direction in ("both", f"to_{'marketo' if side == 'dynamics' else 'dynamics'}")
]
RECORDS = ["qualify", "merge records"]
ENDS = ["delete a person", "delete a record", "merge people", "end an account"]
places = st.sampled_from([0, 1, 2])


class Change(NamedTuple):
    """What somebody does in a cycle's time: edits a field of a link on one side or both, the lead that it was before it was
    qualified, an account, or a company in Marketo; moves a contact, qualifies a lead, merges a record or person into another,
    deletes one, ends an account or brings it back.

    `other`: an account, or none, or the link of the winner. `names`: columns that Qualify does not copy, or that a merge takes.
    """

    who: str
    place: int
    name: str = ""
    values: tuple[str | None, str | None] = (None, None)  # in Dynamics, in Marketo
    other: int = 0
    names: frozenset[str] = frozenset()


Drawn = st.SearchStrategy[Change]
NO_NAMES = st.just(frozenset[str]())


def values_of(name: str) -> st.SearchStrategy[tuple[str | None, str | None]]:
    pools = (LONG, LONG) if name == "phone" else [pools[RULES[name].type] for pools in ENTERED.values()]
    return st.tuples(*map(st.sampled_from, pools))


def change(who: Sequence[str], name: str = "") -> Drawn:
    """One of these that somebody does about a field, or about none."""
    names = NO_NAMES if who is not RECORDS else st.frozensets(st.sampled_from(list(OF_PEOPLE)), max_size=4)
    values = values_of(name) if name else st.just((None, None))
    return st.builds(Change, st.sampled_from(who), places, st.just(name), values, places, names)


def changes_of(names: Sequence[str], *who: str) -> Drawn:
    return st.sampled_from(names).flatmap(lambda name: change(who, name))


# A cycle without them would say nothing; most are edits of people, and of these most on both sides.
changes = st.lists(
    st.one_of(
        changes_of(TWO_WAY, "both", "both", "dynamics", "marketo"),
        st.sampled_from(EDITABLE).flatmap(lambda target: change([target[1]], target[0])),
        changes_of(list(OF_COMPANIES), "account", "company"),
        change(["move"]),
        st.sampled_from(list(OF_PEOPLE)).flatmap(lambda name: change(RECORDS, name)),
        change(ENDS),
        changes_of(TWO_WAY, "both", "both", "dynamics", "old lead"),
    ),
    min_size=3,
    max_size=8,
)
Expected = Mapping[int, Held]
WORLDS: list[MemoryWorld] = []  # one for all examples, opened by the first


def refuse_all(key: str, values: Values) -> ApiError | None:
    return RequestRefused("no", system="either", request="write", code="refused")


class SyncMachine(RuleBasedStateMachine):
    """A lead, a contact, and another of either, edited on both sides between cycles of every kind, and two accounts."""

    @initialize(has_text=st.booleans(), other=st.sampled_from([LEAD, CONTACT]))
    def three_links_that_agree(self, has_text: bool, other: RecordType) -> None:
        """Leads with company text or without, so that their people stand behind a company of their own or behind none."""
        if not WORLDS:
            WORLDS.append(MemoryWorld(FIELDS))
        self.world = WORLDS[0]
        self.n_refusals = self.n_collisions = self.n_links = 0
        self.prefix = f"x{len(self.world.marketo.rows)}"
        self.links: list[Linked] = []
        self.companies = Companies(self.world, [f"{self.prefix}-a0", f"{self.prefix}-a1"], self.links)
        self.links += [self.entered(kind, has_text=has_text) for kind in (LEAD, CONTACT, other)]
        self.world.cycle()

    def entered(self, record_type: RecordType, *, has_text: bool) -> Linked:
        """A record and a person that agree; a contact under the first account."""
        self.n_links += 1
        link = Linked.met(self.world, record_type, f"{self.prefix}-{record_type}{self.n_links}", has_text=has_text)
        if record_type is CONTACT:
            self.companies.move_contact(link, 0)
        return link

    def teardown(self) -> None:
        if hasattr(self, "n_collisions"):
            tally(self.n_collisions)

    # -- what people do --------------------------------------------------------------------------------------------

    def people_change(self, changes: list[Change], cycle: str) -> None:
        done = {change.who for change in changes if self.somebody_does(change)}
        for who in sorted(done):
            event(f"{who}, {cycle}")

    def somebody_does(self, change: Change) -> bool:
        """Whether anything came of it."""
        link, other, companies = self.links[change.place], self.links[change.other], self.companies
        place, name, (in_dynamics, in_marketo) = change.place, change.name, change.values
        kinds: dict[str, Callable[[], bool]] = {
            "dynamics": lambda: link.edit_record(name, in_dynamics),
            "marketo": lambda: link.edit_person(name, in_marketo),
            "both": lambda: link.edit_record(name, in_dynamics) & link.edit_person(name, in_marketo),
            "old lead": lambda: link.edit_old_lead(name, in_dynamics),
            "account": lambda: companies.edit_account(place, name, in_dynamics),
            "company": lambda: companies.edit_company(place, name, in_marketo),
            "move": lambda: companies.move_contact(link, change.other),
            "qualify": lambda: companies.qualify(
                link, change.other, left_out=change.names, entered={name: in_dynamics}
            ),
            "merge records": lambda: link.merge_into(other, taken=change.names),
            "merge people": lambda: link.lose_person(other),
            "delete a person": link.lose_person,
            "delete a record": link.delete_record,
            "end an account": lambda: companies.end_account_or_bring_it_back(place),
        }
        return kinds[change.who]()

    @precondition(lambda self: any(link.state in ENDED for link in self.links))
    @rule(record_type=st.sampled_from([LEAD, CONTACT]), has_text=st.booleans())
    def somebody_enters_others(self, record_type: RecordType, has_text: bool) -> None:
        """In place of those that ended, so that a long example goes on."""
        for place, link in enumerate(self.links):
            if link.state in ENDED:
                self.links[place] = self.entered(record_type, has_text=has_text)
        self.companies.expect(refusing=None)
        self.cycle_ends_as(self.expected(refusing=None, is_lossy=False))

    # -- cycles ----------------------------------------------------------------------------------------------------

    @rule(changes=changes, is_lossy=st.booleans())
    def a_cycle_completes(self, changes: list[Change], is_lossy: bool) -> None:
        self.people_change(changes, "completed")
        before, told_of = self.companies.newest_entry(), self.companies.expect(refusing=None)
        expected = self.expected(refusing=None, is_lossy=is_lossy)
        self.world.marketo.keeps = shortened if is_lossy else as_is
        self.cycle_ends_as(expected)
        self.world.marketo.keeps = as_is
        assert self.companies.told(before) == told_of
        plan = self.world.cycle()
        assert plan is not None
        assert plan.n_operations == 0, "a second cycle is quiet"

    @rule(changes=changes, cuts=st.lists(st.integers(3, 60), min_size=1, max_size=2))
    def a_cycle_is_cut_and_repeated(self, changes: list[Change], cuts: list[int]) -> None:
        self.people_change(changes, "cut")
        self.companies.expect(refusing=None)
        expected = self.expected(refusing=None, is_lossy=False)
        for cut_after in cuts:
            self.world.clock += timedelta(days=2)
            self.world.cycle(cut_after=cut_after)
        self.cycle_ends_as(expected)

    @precondition(lambda self: self.n_refusals < 3)  # more often would end in quarantine
    @rule(changes=changes, system=st.sampled_from(["dynamics", "marketo"]))
    def a_system_refuses_everything(self, changes: list[Change], system: str) -> None:
        self.people_change(changes, f"refused by {system}")
        self.n_refusals += 1
        self.companies.expect(refusing=system)
        expected = self.expected(refusing=system, is_lossy=False)
        getattr(self.world, system).refuses = refuse_all
        self.run_cycle()
        getattr(self.world, system).refuses = refuse_nothing
        self.check(expected, refusing=system)

    def cycle_ends_as(self, expected: Expected) -> None:
        self.run_cycle()
        self.check(expected, refusing=None)
        self.companies.check([place for place, link in enumerate(self.links) if link.lives])

    def run_cycle(self) -> None:
        self.world.clock += timedelta(days=2)  # whatever waits is due
        plan = self.world.cycle()
        assert plan is not None
        self.n_collisions += plan.n_collisions

    # -- what must come out ----------------------------------------------------------------------------------------

    def expected(self, *, refusing: str | None, is_lossy: bool) -> Expected:
        """What the links hold where the rules lead them; moves the model there."""
        after = enumerate(link.expect(refusing=refusing, is_lossy=is_lossy) for link in self.links)
        return {place: held for place, held in after if held}

    # -- looking ---------------------------------------------------------------------------------------------------

    def check(self, expected: Expected, *, refusing: str | None) -> None:
        assert {place: self.links[place].held(held) for place, held in expected.items()} == expected
        for link in self.links:
            link.check(refusing=refusing)
        self.check_proposals()

    def check_proposals(self) -> None:
        """R99: two living people whose records are one are proposed to be merged, and nobody else is."""
        people = [link.person for link in self.links]
        open_ones = self.world.rows(
            "select winner_person_id, loser_person_id from ledger.merge_proposals "
            "where state = 'open' and list_contains(?, winner_person_id) and list_contains(?, loser_person_id)",
            people, people,
        )  # fmt: skip
        wanted = [pair for link in self.links if (pair := link.proposal()) and set(pair) <= set(people)]
        assert sorted(open_ones) == sorted(wanted)

    @invariant()
    def nobody_is_doubled(self) -> None:
        if WORLDS:
            rows = (
                "select count(*) - count(distinct person_id), count(*) - count(distinct dynamics_id) from state.links"
            )
            assert WORLDS[0].rows(rows) == [(0, 0)]


TestMachine = story(SyncMachine.TestCase)
if not is_deep():
    TestMachine.settings = settings(max_examples=4, stateful_step_count=8)
