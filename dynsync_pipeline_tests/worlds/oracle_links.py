"""One person and its record in a world in memory, and a model of where the rules lead the two.

What the model expects of values is the oracles' (`oracles/`); here it is told what it sees, and what became of the link.
Not here: companies (`oracle_accounts.py`), what people do and when (`properties/test_machine.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.conversions import Agreed, agreed_of_contact, told_of_lead
from dynsync_pipeline_tests.oracles.three_way_merge import Outcome, Rule, Seen, compared, outcomes
from dynsync_pipeline_tests.worlds.every_type import POOLS, column_of, compared_on_both_sides, in_marketo
from dynsync_pipeline_tests.worlds.every_type import RULES as EVERY_TYPE
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.oracle_companies import (
    OF_COMPANIES,
    company_on,
    compared_account,
    edit_company,
    told,
)

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
OF_PEOPLE = {**EVERY_TYPE, "phone": Rule("text")}  # Marketo keeps three characters of it, where a test asks for that
RULES = OF_PEOPLE | OF_COMPANIES
RULES_OF = {LEAD: RULES, CONTACT: OF_PEOPLE}
START = {name: POOLS[rule.type][0] for name, rule in RULES.items()}
Held = dict[str, tuple[str | None, str | None]]  # by field: in Dynamics, in Marketo
Values = Mapping[str, str | None]


class State(StrEnum):
    """What became of a link."""

    LIVES = "lives"
    LOSES_RECORD = "its record was deleted or merged away, and no cycle has seen it"
    LOSES_PERSON = "its person was deleted or merged away, and no cycle has seen it"
    HAS_NO_RECORD = "its record is gone"
    HAS_NO_PERSON = "its person is gone"
    IS_UNMET = "its lead, who had no person, was qualified, and its contact waits for one"
    IS_NEW = "its record was edited after that, and has a new person"
    IS_GONE = "both are"


HAS_RECORD = (State.LIVES, State.LOSES_PERSON, State.HAS_NO_PERSON)
WITHOUT_RECORD = (State.LOSES_RECORD, State.HAS_NO_RECORD)
WITH_PERSON = (State.LIVES, *WITHOUT_RECORD)
ENDED = (State.HAS_NO_RECORD, State.HAS_NO_PERSON, State.IS_NEW, State.IS_GONE)


def shortened(name: str, value: str | None) -> str | None:
    """What a Marketo that keeps three characters of a phone number makes of a value."""
    return value[:3] if value and name == "phone" else value


@dataclass(eq=False)
class Linked:
    """A person and its record. `parent`: the place of a contact's account. `heir`: whose record this one was merged into.

    `lead_id`: what a contact was before it was qualified, and `of_lead` what Marketo was told of that. `is_unseen`: no cycle has
    seen that it was.
    """

    world: MemoryWorld
    record_type: RecordType
    record_id: str
    person: int
    agreed: Agreed
    state: State = State.LIVES
    parent: int | None = None
    heir: Linked | None = None
    lead_id: str | None = None
    of_lead: Values = field(default_factory=dict)
    is_unseen: bool = False
    lead_has_person: bool = False  # a new one, because its contact is gone
    got: Values = field(default_factory=dict)  # what a person who is gone got of its record
    writes: list[tuple[str, str, str | None]] = field(default_factory=list)  # each in the ledger once

    @classmethod
    def met(cls, world: MemoryWorld, record_type: RecordType, record_id: str, *, has_text: bool) -> Linked:
        """Two that agree; a lead with company text or without."""
        names = RULES if has_text and record_type is LEAD else OF_PEOPLE
        person = world.link(record_type, record_id, **{name: START[name] for name in names})
        base = {
            name: compared(START[name] if name in names else None, rule.type)
            for name, rule in RULES_OF[record_type].items()
        }
        return cls(world, record_type, record_id, person, Agreed(base))

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The fields of its record type; a contact has no company text of its own (R22)."""
        return RULES_OF[self.record_type]

    @property
    def lives(self) -> bool:
        """Whether its two sides are compared."""
        return self.state is State.LIVES

    # -- what people do --------------------------------------------------------------------------------------------

    def edit_record(self, name: str, value: str | None) -> bool:
        """Sales edits the record; also one that lost a merge, which no rule sees any more (R99)."""
        is_there = self.world.dynamics.is_there(self.record_type, self.record_id)
        if name not in self.rules or not is_there or self.state is State.IS_NEW:
            return False
        self.world.dynamics.put(self.record_type, self.record_id, **{column_of(name): value})
        return True

    def edit_person(self, name: str, value: str | None) -> bool:
        """Marketing edits the person, or the company text that it shows of a lead's."""
        if name not in self.rules or self.state is State.IS_NEW or not self.world.marketo.is_there(self.person):
            return False
        if name in OF_COMPANIES:
            edit_company(self.world.marketo, self.person, **{name: value})
        else:
            self.world.marketo.put(self.person, **{name: in_marketo(value, RULES[name].type)})
        return True

    def edit_old_lead(self, name: str, value: str | None) -> bool:
        """Sales edits a lead that was qualified, and whose contact is there."""
        if self.lead_id is None or not self.has_contact():
            return False
        self.world.dynamics.put(LEAD, self.lead_id, **{column_of(name): value})
        return True

    def delete_record(self) -> bool:
        """Sales deletes the record of a link that lives, but for a contact that nobody has seen."""
        if not self.lives or self.is_unseen:
            return False
        self.world.dynamics.delete(self.record_type, self.record_id)
        self.state = State.LOSES_RECORD
        return True

    def lose_person(self, winner: Linked | None = None) -> bool:
        """Marketing deletes the person, or merges it into that of a link that lives."""
        if self.state not in WITH_PERSON or winner is self or (winner and not winner.lives):
            return False
        if winner is None:
            self.world.marketo.delete(self.person)
        else:
            self.world.marketo.merge(winner.person, self.person)
        if self.state in WITHOUT_RECORD:
            self.state = State.IS_GONE
        else:
            self.state = State.IS_UNMET if self.is_unseen else State.LOSES_PERSON
        return True

    def qualify(self, *, left_out: Collection[str], entered: Values, account: str | None) -> bool:
        """Sales makes a contact of a lead: of all its columns but some, with others entered by hand, under an account or none."""
        if self.record_type is not LEAD or self.state not in HAS_RECORD:
            return False
        lead = self.world.dynamics.rows[LEAD, self.record_id].values
        copied = {column_of(n): lead.get(column_of(n)) for n in OF_PEOPLE if n not in left_out}
        copied |= {column_of(name): value for name, value in entered.items() if name in OF_PEOPLE}
        self.lead_id, self.record_id = self.record_id, f"{self.record_id}-contact"
        origin = {"_originatingleadid_value": self.lead_id, "_parentcustomerid_value": account}
        self.world.dynamics.put(CONTACT, self.record_id, **copied, **origin)
        self.world.dynamics.put(LEAD, self.lead_id, statecode="1", _parentcontactid_value=self.record_id)
        self.record_type = CONTACT
        self.is_unseen = self.lives
        if not self.lives:
            self.of_lead = self.compared_lead()
            self.state = State.IS_UNMET
        return True

    def merge_into(self, winner: Linked, *, taken: Collection[str]) -> bool:
        """Sales merges this record into another of its type, which takes some columns of it (R98)."""
        both = (self, winner)
        if self is winner or self.record_type is not winner.record_type:
            return False
        if any(link.state not in HAS_RECORD or link.is_unseen for link in both):
            return False
        lost = self.world.dynamics.rows[self.record_type, self.record_id].values
        columns = {column_of(name): lost.get(column_of(name)) for name in taken if name in self.rules}
        self.world.dynamics.put(winner.record_type, winner.record_id, **columns)
        ended = {"merged": "true", "_masterid_value": winner.record_id, "statecode": "1"}
        self.world.dynamics.put(self.record_type, self.record_id, **ended)
        self.state, self.heir = (State.LOSES_RECORD if self.lives else State.IS_GONE), winner
        return True

    # -- what must come out ----------------------------------------------------------------------------------------

    def expect(self, *, refusing: str | None, is_lossy: bool) -> Held:
        """Where the rules lead it; moves the model there. What both sides hold then, where the link lives or takes no edits."""
        self.take_over()
        if self.lives:
            held = self.held()
            return {
                name: self.settle(name, held[name], outcome, refusing=refusing, is_lossy=is_lossy)
                for name, outcome in self.outcomes(held).items()
            }
        self.move_on(refusing)
        return self.held(OF_PEOPLE) if self.state is State.HAS_NO_RECORD else {}  # R84, R99

    def take_over(self) -> None:
        """R96: the person of a lead that was qualified is its contact's."""
        if self.is_unseen and self.lives:
            contact, lead = self.record_values(), self.compared_lead()
            self.of_lead = told_of_lead(self.agreed, lead, contact, RULES)
            self.agreed = agreed_of_contact(self.agreed, contact, OF_PEOPLE)
        self.is_unseen = False

    def outcomes(self, held: Held) -> Mapping[str, Outcome]:
        """What the rules make of both sides' values."""
        agreed = self.agreed
        seen = {
            name: Seen(
                agreed.base[name], *held[name],
                has_base=name not in agreed.unmet, standing=agreed.standing.get(name), is_foreign=name in agreed.foreign,
            )
            for name in held
        }  # fmt: skip
        return outcomes(self.record_type, dict(self.rules), seen)

    def settle(
        self, name: str, held: tuple[str | None, str | None], outcome: Outcome, *, refusing: str | None, is_lossy: bool
    ) -> tuple[str | None, str | None]:
        """What both sides hold after the outcome was carried out, unless its system refuses."""
        dynamics, marketo = held
        system = "dynamics" if outcome.write_dynamics else "marketo" if outcome.write_marketo else None
        if system is not None and system != refusing:
            self.writes.append((name, f"to_{system}", outcome.value))
            dynamics = outcome.value if system == "dynamics" else dynamics
            if system == "marketo":
                marketo = shortened(name, outcome.value) if is_lossy else outcome.value
            self.agreed.settle(name, outcome.value)
            if dynamics != marketo:
                self.agreed.standing[name] = (dynamics, marketo)
        elif dynamics == marketo:
            self.agreed.settle(name, dynamics)
        elif system is None and name in self.agreed.unmet:
            self.agreed.stand(name, dynamics, marketo)
        return dynamics, marketo

    def move_on(self, refusing: str | None) -> None:
        """Where the rules lead a link that ended (R79, R81): whatever the person never got of its record brings one back."""
        if self.state is State.LOSES_RECORD:
            self.state = State.HAS_NO_RECORD
        elif self.state is State.LOSES_PERSON:
            self.got = self.agreed.person_got(self.record_values(), self.rules)
            self.state = State.HAS_NO_PERSON
        if refusing == "marketo":
            return
        if self.state is State.IS_UNMET or (
            self.state is State.HAS_NO_PERSON and differ(self.record_values(), self.got)
        ):
            self.state = State.IS_NEW
        if self.lead_id and not self.has_contact() and differ(self.compared_lead(), self.of_lead):
            self.lead_has_person = True

    def has_contact(self) -> bool:
        """Whether the contact that it became is there, or the one into which this was merged since (R99)."""
        return self.world.dynamics.is_there(self.record_type, self.last_heir().record_id)

    def last_heir(self) -> Linked:
        """Whose record this one is, after however many merges."""
        return self if self.heir is None else self.heir.last_heir()

    def proposal(self) -> tuple[int, int] | None:
        """R99: the winner's person and this one, where both are there and their records are one."""
        heir = self.last_heir()
        is_open = self.state is State.HAS_NO_RECORD and heir is not self and heir.lives
        return (heir.person, self.person) if is_open else None

    # -- what there is ---------------------------------------------------------------------------------------------

    def record_values(self) -> Values:
        """The record's values, as they compare."""
        return compared_record(self.world.dynamics.rows[self.record_type, self.record_id].values, self.rules)

    def compared_lead(self) -> Values:
        """The values of the lead that it was."""
        assert self.lead_id
        return compared_record(self.world.dynamics.rows[LEAD, self.lead_id].values, RULES)

    def held(self, names: Collection[str] | None = None) -> Held:
        """Both sides' values of now, as they compare, of these fields or all of its record type."""
        record = self.world.dynamics.rows[self.record_type, self.record_id].values
        person = self.world.marketo.rows[self.person].values
        held = {
            name: compared_on_both_sides((record.get(column_of(name)), person.get(name)), rule.type)
            for name, rule in OF_PEOPLE.items()
        }
        if "company" in (self.rules if names is None else names):
            texts, shown = compared_account(record), company_on(self.world.marketo, self.person)
            held |= {name: (texts[name], shown[name]) for name in OF_COMPANIES}
        return held

    # -- looking ---------------------------------------------------------------------------------------------------

    def check(self, *, refusing: str | None) -> None:
        """Who is linked, who bears which key, who is flagged, and that the ledger tells each write once."""
        rows = self.world.rows(
            "select field, direction, new_value from ledger.changes where person_id = ?", self.person
        )
        changes = [(name, direction, told(v, RULES[name].type)) for name, direction, v in rows if name in RULES]
        assert sorted(changes, key=repr) == sorted(self.writes, key=repr), "the ledger tells each write once"
        linked = self.world.rows("select person_id from state.links where dynamics_id = ?", self.record_id)
        bearers = self.bearers(self.record_type, self.record_id)
        if self.lives:
            assert linked == [(self.person,)]
        elif self.state is State.IS_NEW:
            assert linked == [(bearers[0],)]
            assert len(bearers) == 1, "created once"
            self.check_new_person(bearers[0])
        else:
            assert linked == []
        if refusing != "marketo" and self.state is not State.IS_NEW:
            has_person = self.lives or self.state is State.HAS_NO_RECORD
            assert bearers == ([self.person] if has_person else [])
            if has_person:
                flag = self.world.marketo.rows[self.person].values.get(KEYS.is_deleted)
                assert (flag == "true") == (not self.lives), "flagged if and only if its record is gone (R79, R99)"
        self.check_old_lead(refusing)

    def check_old_lead(self, refusing: str | None) -> None:
        """R96: the lead that it was has nobody, whatever is edited of it, while its contact is there."""
        if self.lead_id and refusing != "marketo":
            assert len(self.bearers(LEAD, self.lead_id)) == self.lead_has_person

    def bearers(self, record_type: RecordType, record_id: str) -> list[int]:
        """Who bears the key of a record."""
        return self.world.marketo.bearers(KEYS.contact_id if record_type is CONTACT else KEYS.lead_id, record_id)

    def check_new_person(self, person_id: int) -> None:
        """R81: it shows what its record holds, whatever the one before it showed."""
        row = self.world.dynamics.rows[self.record_type, self.record_id].values
        person = self.world.marketo.rows[person_id].values
        for name, rule in OF_PEOPLE.items():
            if rule.direction != "to_dynamics":
                dynamics, marketo = compared_on_both_sides((row.get(column_of(name)), person.get(name)), rule.type)
                assert marketo in (dynamics, shortened(name, dynamics))
        if self.record_type is LEAD:
            assert company_on(self.world.marketo, person_id) == compared_account(row)


def compared_record(row: Values, rules: Mapping[str, Rule]) -> Values:
    """A record's values of these fields, as they compare."""
    return {name: compared(row.get(column_of(name)), rule.type) for name, rule in rules.items()}


def differ(record: Values, got: Values) -> bool:
    """Whether a record holds what nobody in Marketo got."""
    return any(record[name] != value for name, value in got.items())
