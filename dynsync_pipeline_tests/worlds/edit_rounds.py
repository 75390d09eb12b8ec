"""Rounds of edits by people on both sides, and what a cycle must make of each: values, writes, ledgers, all exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dynsync_pipeline_tests.worlds.http import HttpWorld, Write

SOURCES = {7: "Trade Show", 8: "Web"}


@dataclass(frozen=True)
class Change:
    """A value that a cycle must write, once; `shown` is the new value as the ledger has it, `sent` as the system gets it."""

    direction: str
    record: str
    field: str
    column: str
    old: str | None
    shown: str | None
    sent: object


class EditRounds:
    """Eight linked people and a company, edited round after round, each time to other values."""

    def __init__(self, world: HttpWorld) -> None:
        self.world = world
        self.n = 0
        self.account = world.create_record("account", name="Company 0")
        parent = {"parentcustomerid_account@odata.bind": f"/accounts({self.account})"}
        self.contacts = [
            world.create_record("contact", lastname=f"Contact {i}", jobtitle="none", **parent) for i in range(5)
        ]
        self.leads = [world.create_record("lead", lastname=f"Lead {i}") for i in range(3)]
        world.sync()
        self.persons = {
            record_id: world.person_of(kind, record_id)
            for kind, ids in (("contact", self.contacts), ("lead", self.leads))
            for record_id in ids
        }
        self.kinds = dict.fromkeys(self.contacts, "contact") | dict.fromkeys(self.leads, "lead")
        self.held: dict[tuple[str, str], str | None] = {(self.contacts[0], "title"): "none"}
        self.held[self.contacts[2], "title"] = "none"
        self.expected: list[Change] = []
        self.collisions: list[tuple[Any, ...]] = []
        self.same: list[tuple[str, str, str, str]] = []
        self.new: dict[str, str] = {}

    def play(self) -> None:
        """Make the next round's edits on both sides."""
        self.n += 1
        n, world = self.n, self.world
        a, b, c, d, e = self.contacts
        k, m, o = self.leads
        self.expected, self.collisions, self.same = [], [], []

        self._in_dynamics(a, "title", "jobtitle", f"Title {n}")
        self._in_marketo(a, "leadScore", "mkt_leadscore", n)
        self._in_marketo(b, "phone", "telephone1", f"+1 555 {n}")
        self._in_dynamics(c, "title", "jobtitle", f"Other title {n}")
        self._in_marketo(c, "city", "address1_city", f"City {n}")
        self._collide(d, f"Zürich {n}", f"Genève {n}", winner="dynamics")
        self._collide(k, f"大阪 {n}", f"東京 {n}", winner="marketo")
        self._in_marketo(m, "title", "jobtitle", None if n % 2 else f"O'Brien 🦊 {n}")
        source = 7 + n % 2
        world.edit_record("lead", o, leadsourcecode=source, donotbulkemail=bool(n % 2))
        self._expect("to_marketo", o, "leadSource", "leadsourcecode", SOURCES[source], SOURCES[source])
        self._expect("to_marketo", o, "unsubscribed", "donotbulkemail", "true" if n % 2 else "false", bool(n % 2))
        world.edit_record("contact", e, address1_city=f"Brno {n}")
        world.edit_person(self.persons[e], city=f"Brno {n}")
        self.same.append((e, "city", "address1_city", f"Brno {n}"))
        world.edit_record("account", self.account, name=f"Company {n}")
        self.new = {
            world.create_record("contact", lastname=f"New {n}", firstname="Ngozi"): "contact",
            world.create_record("lead", lastname=f"New {n}", leadsourcecode=8): "lead",
        }
        world.dynamics.forget()
        world.marketo.forget()
        self._written: list[Write] = []

    def keep_writes(self) -> None:
        """Remember the values that have reached the systems in this round, before the watches forget them."""
        for watch in (self.world.dynamics, self.world.marketo):
            self._written += watch.writes
            watch.forget()

    def check(self) -> None:
        """Assert that both sides, the requests and the ledgers are as one uncut cycle leaves them."""
        world = self.world
        self.keep_writes()
        for change in self.expected:
            kind, person_id = self.kinds[change.record], self.persons[change.record]
            record, person = world.record(kind, change.record), world.person(person_id, change.field)
            in_dynamics, in_marketo = record[change.column], person[change.field]
            if change.field == "leadSource":
                in_dynamics = SOURCES[in_dynamics]
            assert (in_dynamics, in_marketo) == (change.sent, change.sent), change
            target = change.record if change.direction == "to_dynamics" else str(person_id)
            name = change.column if change.direction == "to_dynamics" else change.field
            times = [w.value for w in self._written if w.record == target and w.field == name]
            assert times == [change.sent], f"{change} was written {len(times)} times"
            ledger = world.query(
                "select direction, old_value, new_value, person_id_marketo from changes "
                "where record_id_dynamics = ? and field = ? and new_value is not distinct from ? "
                "and old_value is not distinct from ? and cycle_id >= ?",
                change.record, change.field, change.shown, change.old, self.first_cycle,
            )  # fmt: skip
            assert ledger == [(change.direction, change.old, change.shown, person_id)], change
        for record_id, name, column, value in self.same:
            assert world.record(self.kinds[record_id], record_id)[column] == value
            assert world.person(self.persons[record_id], name)[name] == value
        collisions = world.query(
            "select record_id_dynamics, field, base_value, dynamics_value, marketo_value, winner from collisions "
            "where cycle_id >= ?",
            self.first_cycle,
        )
        assert sorted(collisions, key=str) == sorted(self.collisions, key=str)
        for record_id, kind in self.new.items():
            person_id = world.person_of(kind, record_id)
            person = world.person(person_id, "lastName", "dynamicsType", "leadSource")
            assert person["lastName"] == f"New {self.n}"
            assert person["dynamicsType"] == kind.title()
            assert person["leadSource"] == ("Web" if kind == "lead" else None)
            sent = [w for w in self._written if w.record == record_id and w.field == "lastName"]
            assert len(sent) == 1, f"a person was created {len(sent)} times"
            names = world.query(
                "select count(*) from changes where record_id_dynamics = ? and field = 'lastName'", record_id
            )
            assert names == [(1,)]
        self._check_company()
        n_updates = world.query(
            "select count(*) from changes where cycle_id >= ? and rule_code <> 'new_in_dynamics'", self.first_cycle
        )
        assert n_updates == [(len(self.expected),)]
        assert world.query("select count(*) from cycles where status in ('running', 'loading')") == [(0,)]
        assert world.query("select count(*) from sync_errors") == [(0,)]
        with world.writes_nothing():
            world.sync()

    def _check_company(self) -> None:
        """The account's name reached all its people by one write, logged once per person and once for the account."""
        name, old = f"Company {self.n}", f"Company {self.n - 1}"
        for record_id in self.contacts:
            assert self.world.person(self.persons[record_id], "company")["company"] == name
        sent = [w.value for w in self._written if w.record == self.account and w.field == "company"]
        assert sent == [name], f"the company was written {len(sent)} times"
        logged = self.world.query(
            "select person_id_marketo, old_value, new_value from activities "
            "where cycle_id >= ? and field = 'company' order by 1",
            self.first_cycle,
        )
        assert logged == sorted((self.persons[record_id], old, name) for record_id in self.contacts)
        told = self.world.query(
            "select old_value, new_value, n_contacts, activities_suppressed from account_changes "
            "where account_id_dynamics = ? and field = 'company' and cycle_id >= ?",
            self.account, self.first_cycle,
        )  # fmt: skip
        assert told == [(old, name, len(self.contacts), False)]
        for change in self.expected:
            if change.direction == "to_marketo":
                person_id = self.persons[change.record]
                entries = self.world.query(
                    "select activity_type, old_value, new_value from activities "
                    "where cycle_id >= ? and person_id_marketo = ? and field = ?",
                    self.first_cycle, person_id, change.field,
                )  # fmt: skip
                assert entries == [("Change Data Value", change.old, change.shown)], change

    @property
    def first_cycle(self) -> int:
        """The first cycle of this round."""
        return self._first_cycle

    def begin(self) -> None:
        """Play a round; what cycles do from now on belongs to it."""
        ((newest,),) = self.world.query("select coalesce(max(cycle_id), 0) from cycles")
        self._first_cycle = int(newest) + 1
        self.play()

    def _in_dynamics(self, record_id: str, name: str, column: str, value: str) -> None:
        self.world.edit_record(self.kinds[record_id], record_id, **{column: value})
        self._expect("to_marketo", record_id, name, column, value, value)

    def _in_marketo(self, record_id: str, name: str, column: str, value: str | int | None) -> None:
        self.world.edit_person(self.persons[record_id], **{name: value})
        self._expect("to_dynamics", record_id, name, column, None if value is None else str(value), value)

    def _collide(self, record_id: str, in_dynamics: str, in_marketo: str, *, winner: str) -> None:
        self.world.edit_record(self.kinds[record_id], record_id, address1_city=in_dynamics)
        self.world.edit_person(self.persons[record_id], city=in_marketo)
        base = self.held.get((record_id, "city"))
        won, lost = (in_dynamics, in_marketo) if winner == "dynamics" else (in_marketo, in_dynamics)
        direction = "to_marketo" if winner == "dynamics" else "to_dynamics"
        self.expected.append(Change(direction, record_id, "city", "address1_city", lost, won, won))
        self.held[record_id, "city"] = won
        self.collisions.append((record_id, "city", base, in_dynamics, in_marketo, winner))

    def _expect(self, direction: str, record_id: str, name: str, column: str, shown: str | None, sent: object) -> None:
        old = self.held.get((record_id, name), "false" if name == "unsubscribed" else None)
        if old != shown:
            self.expected.append(Change(direction, record_id, name, column, old, shown, sent))
        self.held[record_id, name] = shown
