"""Leads and contacts among two accounts in a world in memory, and a model of where the rules lead their companies.

What the model expects is the oracle's (`oracles/companies.py`); here it is told what it sees. Not here: fields of people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.companies import Account, activities_of_contact, key_of_contact, key_of_lead
from dynsync_pipeline_tests.worlds.every_type import POOLS, column_of, in_marketo
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.oracle_companies import (
    OF_COMPANIES,
    company_of,
    company_on,
    compared_account,
    is_text,
    told,
)
from dynsync_pipeline_tests.worlds.oracle_links import Linked, State
from dynsync_pipeline_tests.worlds.rows import Values

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
START = {name: POOLS[rule.type][0] for name, rule in OF_COMPANIES.items()}


class Told(NamedTuple):
    """What the ledger tells of companies: (account, field, old, new, contacts), and (place, field, old, new) of links' people."""

    accounts: list[tuple[int, str, str | None, str | None, int]]
    activities: list[tuple[int, str, str | None, str | None]]


@dataclass
class Companies:
    """Two accounts, and links whose contacts stand under them."""

    world: MemoryWorld
    accounts: list[str]
    links: Sequence[Linked]
    is_ended: list[bool] = field(default_factory=lambda: [False, False])
    is_pending: list[bool] = field(default_factory=lambda: [False, False])  # an update that Marketo has refused so far
    companies: list[Mapping[str, str | None] | None] = field(default_factory=list)  # what must stand after the cycle
    keys: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for account in self.accounts:
            columns = {column_of(name): value for name, value in START.items()}
            self.world.dynamics.put(ACCOUNT, account, **columns, statecode="0")

    # -- what people do --------------------------------------------------------------------------------------------

    def edit_account(self, place: int, name: str, value: str | None) -> bool:
        """Sales edits an account; there is none at any other place."""
        if place >= len(self.accounts):
            return False
        self.world.dynamics.put(ACCOUNT, self.accounts[place], **{column_of(name): value})
        return True

    def end_account_or_bring_it_back(self, place: int) -> bool:
        """Sales deactivates an account, or activates it again; there is none at any other place."""
        if place >= len(self.accounts):
            return False
        self.is_ended[place] = not self.is_ended[place]
        self.world.dynamics.put(ACCOUNT, self.accounts[place], statecode="1" if self.is_ended[place] else "0")
        return True

    def edit_company(self, place: int, name: str, value: str | None) -> bool:
        """Marketing edits the company of an account, where there is one."""
        account = self.account_of(place)
        if account not in self.world.marketo.company_rows:
            return False
        self.world.marketo.put_company(account, **{name: in_marketo(value, OF_COMPANIES[name].type)})
        return True

    def account_of(self, place: int | None) -> str | None:
        """The id of the account at a place; any other place is none."""
        return self.accounts[place] if place is not None and place < len(self.accounts) else None

    def move_contact(self, link: Linked, place: int) -> bool:
        """Sales moves a contact that has a person to an account, or out of any."""
        if link.record_type is not CONTACT or not link.lives:
            return False
        account = self.account_of(place)
        self.world.dynamics.put(CONTACT, link.record_id, _parentcustomerid_value=account)
        link.parent = None if account is None else place
        return True

    def qualify(self, link: Linked, place: int, *, left_out: Collection[str], entered: Values) -> bool:
        """Sales makes a contact of a lead, under an account or none; the other two as `Linked.qualify` has them."""
        account = self.account_of(place)
        is_made = link.qualify(left_out=left_out, entered=entered, account=account)
        link.parent = link.parent if not is_made or account is None else place
        return is_made

    # -- what must come out ----------------------------------------------------------------------------------------

    def expect(self, *, refusing: str | None) -> Told:
        """Where the rules lead companies and who stands behind them; returns what must be told of it. Moves the model there.

        `refusing`: a system that takes nothing.
        """
        seen = [self.seen(place) for place in (0, 1)]
        self.keys = [self.key(link) for link in self.links]
        if refusing == "marketo":
            self.is_pending = [account.is_updated and bool(account.changes()) for account in seen]
            self.companies = [account.company for account in seen]
            return Told([], [])
        self.is_pending = [False, False]
        self.companies = [account.company_after() for account in seen]
        expected = Told([], [])
        for place, account in enumerate(seen):
            n = self.n_contacts(place)
            expected.accounts.extend((place, name, *values, n) for name, values in sorted(account.changes().items()))
        for place, link in enumerate(self.links):
            if link.lives and link.record_type is LEAD:
                self.keys[place] = self.wanted_key_of_lead(link)
            elif link.lives:
                expected.activities.extend(self._expect_contact(place, link, seen))
        return expected

    def n_contacts(self, place: int) -> int:
        """R55: who counts for an account."""
        return sum(
            link.record_type is CONTACT and link.state in (State.LIVES, State.IS_NEW) and link.parent == place
            for link in self.links
        )

    def _expect_contact(
        self, place: int, link: Linked, seen: Sequence[Account]
    ) -> list[tuple[int, str, str | None, str | None]]:
        account = None if link.parent is None else seen[link.parent]
        held = self.key(link)
        self.keys[place] = key_of_contact(link.record_id, self.account_of(link.parent), account, held)
        shown = company_on(self.world.marketo, link.person)
        wanted = (account.company_after() if account else None) or compared_account({})
        moved = activities_of_contact(account, shown, wanted, is_moved=self.keys[place] != held)
        return [(place, name, *values) for name, values in sorted(moved.items())]

    def seen(self, place: int) -> Account:
        """An account, and its company, as the next cycle finds them."""
        account_id = self.accounts[place]
        ((cursor,),) = self.world.rows("select cursor from state.cursors where stream = 'dynamics_accounts'")
        row = self.world.dynamics.rows[ACCOUNT, account_id]
        is_updated = row.version > int(cursor) or self.is_pending[place]
        company = company_of(self.world.marketo, account_id)
        return Account(compared_account(row.values), company, is_updated, self.is_ended[place])

    def key(self, link: Linked) -> str | None:
        """The company that the person stands behind."""
        return self.world.marketo.rows[link.person].values.get(COMPANY_KEY)

    def wanted_key_of_lead(self, link: Linked) -> str | None:
        record = compared_account(self.world.dynamics.rows[LEAD, link.record_id].values)
        sides = (record, company_on(self.world.marketo, link.person))
        has_text = any(is_text(side[name], name) for side in sides for name in OF_COMPANIES)
        has_company = f"lead:{link.record_id}" in self.world.marketo.company_rows
        return key_of_lead(link.record_id, self.key(link), has_text=has_text, has_company=has_company)

    # -- what came out ---------------------------------------------------------------------------------------------

    def check(self, living: Collection[int]) -> None:
        """R52, R59, R60, R131: each company holds what its account or an edit says, and people stand where they belong."""
        assert [company_of(self.world.marketo, account) for account in self.accounts] == self.companies
        assert [self.key(self.links[place]) for place in living] == [self.keys[place] for place in living]

    def newest_entry(self) -> int:
        """The newest number in the ledger."""
        rows = self.world.rows(
            "select coalesce(max(entry_id), 0) from ledger.account_changes "
            "union all select coalesce(max(activity_id), 0) from ledger.activities"
        )
        return max(int(row[0]) for row in rows)

    def told(self, since: int) -> Told:
        """What the ledger tells of these accounts, and of companies that these people stood behind."""
        changes = self.world.rows(
            "select account_id, field, old_value, new_value, n_contacts from ledger.account_changes "
            "where entry_id > ? and account_id in (?, ?)",
            since,
            *self.accounts,
        )
        people = [link.person for link in self.links]
        activities = self.world.rows(
            "select person_id, field, old_value, new_value from ledger.activities "
            "where activity_id > ? and list_contains(?, person_id) and starts_with(reason_code, 'account_')",
            since,
            people,
        )
        kinds = {name: rule.type for name, rule in OF_COMPANIES.items()}
        of_accounts = (
            (self.accounts.index(account), name, told(old, kinds[name]), told(new, kinds[name]), count)
            for account, name, old, new, count in changes
        )
        of_contacts = (
            (people.index(person), name, told(old, kinds[name]), told(new, kinds[name]))
            for person, name, old, new in activities
            if name in kinds
        )
        return Told(sorted(of_accounts), sorted(of_contacts))
