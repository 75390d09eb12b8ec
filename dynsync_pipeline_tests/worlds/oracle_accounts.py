"""A lead and a contact among two accounts in a world in memory, and a model of where the rules lead their companies.

What the model expects is the oracle's (`oracles/companies.py`); here it is told what it sees. Not here: fields of people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
START = {name: POOLS[rule.type][0] for name, rule in OF_COMPANIES.items()}


class Told(NamedTuple):
    """What the ledger tells of companies: (account, field, old, new, contacts), and (field, old, new) of the contact's person."""

    accounts: list[tuple[int, str, str | None, str | None, int]]
    activities: list[tuple[str, str | None, str | None]]


@dataclass
class Companies:
    """Two accounts, and the people of a lead and a contact, in this order; the contact begins under the first account."""

    world: MemoryWorld
    accounts: list[str]
    record_ids: list[str]
    people: list[int]
    parent: int | None = 0
    is_ended: list[bool] = field(default_factory=lambda: [False, False])
    is_pending: list[bool] = field(default_factory=lambda: [False, False])  # an update that Marketo has refused so far
    companies: list[Mapping[str, str | None] | None] = field(default_factory=list)  # what must stand after the cycle
    keys: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for account in self.accounts:
            columns = {column_of(name): value for name, value in START.items()}
            self.world.dynamics.put(ACCOUNT, account, **columns, statecode="0")
        self.move_contact(0)

    # -- what people do --------------------------------------------------------------------------------------------

    def edit_account(self, place: int, name: str, value: str | None) -> None:
        self.world.dynamics.put(ACCOUNT, self.accounts[place], **{column_of(name): value})

    def end_account_or_bring_it_back(self, place: int) -> None:
        self.is_ended[place] = not self.is_ended[place]
        self.world.dynamics.put(ACCOUNT, self.accounts[place], statecode="1" if self.is_ended[place] else "0")

    def edit_company(self, place: int, name: str, value: str | None) -> None:
        if self.accounts[place] in self.world.marketo.company_rows:
            shown = in_marketo(value, OF_COMPANIES[name].type)
            self.world.marketo.put_company(self.accounts[place], **{name: shown})

    def move_contact(self, place: int | None) -> None:
        account = None if place is None else self.accounts[place]
        self.world.dynamics.put(CONTACT, self.record_ids[1], _parentcustomerid_value=account)
        self.parent = place

    # -- what must come out ----------------------------------------------------------------------------------------

    def expect(self, living: Collection[int], *, n_contacts: int, refusing: str | None) -> Told:
        """Where the rules lead companies and who stands behind them; returns what must be told of it. Moves the model there.

        `living`: the places of the links that are compared; `n_contacts`: how many people count for the contact's account
        (R55); `refusing`: a system that takes nothing.
        """
        seen = [self.seen(place) for place in (0, 1)]
        if refusing == "marketo":
            self.is_pending = [account.is_updated and bool(account.changes()) for account in seen]
            self.companies = [account.company for account in seen]
            self.keys = [self.key(place) for place in (0, 1)]
            return Told([], [])
        self.is_pending = [False, False]
        self.companies = [account.company_after() for account in seen]
        self.keys = [self.wanted_key_of_lead() if 0 in living else self.key(0), self.key(1)]
        expected = Told([], [])
        for place, account in enumerate(seen):
            n = n_contacts if self.parent == place else 0
            expected.accounts.extend((place, name, *values, n) for name, values in sorted(account.changes().items()))
        if 1 in living:
            expected.activities.extend(self._expect_contact(None if self.parent is None else seen[self.parent]))
        return expected

    def _expect_contact(self, account: Account | None) -> list[tuple[str, str | None, str | None]]:
        parent = None if self.parent is None else self.accounts[self.parent]
        held = self.key(1)
        self.keys[1] = key_of_contact(self.record_ids[1], parent, account, held)
        shown = company_on(self.world.marketo, self.people[1])
        wanted = (account.company_after() if account else None) or compared_account({})
        moved = activities_of_contact(account, shown, wanted, is_moved=self.keys[1] != held)
        return [(name, *values) for name, values in sorted(moved.items())]

    def seen(self, place: int) -> Account:
        """An account, and its company, as the next cycle finds them."""
        account_id = self.accounts[place]
        ((cursor,),) = self.world.rows("select cursor from state.cursors where stream = 'dynamics_accounts'")
        row = self.world.dynamics.rows[ACCOUNT, account_id]
        is_updated = row.version > int(cursor) or self.is_pending[place]
        company = company_of(self.world.marketo, account_id)
        return Account(compared_account(row.values), company, is_updated, self.is_ended[place])

    def key(self, place: int) -> str | None:
        """The company that the person stands behind."""
        return self.world.marketo.rows[self.people[place]].values.get(COMPANY_KEY)

    def wanted_key_of_lead(self) -> str | None:
        lead_id = self.record_ids[0]
        record = compared_account(self.world.dynamics.rows[LEAD, lead_id].values)
        sides = (record, company_on(self.world.marketo, self.people[0]))
        has_text = any(is_text(side[name], name) for side in sides for name in OF_COMPANIES)
        has_company = f"lead:{lead_id}" in self.world.marketo.company_rows
        return key_of_lead(lead_id, self.key(0), has_text=has_text, has_company=has_company)

    # -- what came out ---------------------------------------------------------------------------------------------

    def check(self, living: Collection[int]) -> None:
        """R52, R59, R60, R131: each company holds what its account or an edit says, and people stand where they belong."""
        assert [company_of(self.world.marketo, account) for account in self.accounts] == self.companies
        assert [self.key(place) for place in living] == [self.keys[place] for place in living]

    def newest_entry(self) -> int:
        """The newest number in the ledger."""
        rows = self.world.rows(
            "select coalesce(max(entry_id), 0) from ledger.account_changes "
            "union all select coalesce(max(activity_id), 0) from ledger.activities"
        )
        return max(int(row[0]) for row in rows)

    def told(self, since: int) -> Told:
        """What the ledger tells of these accounts, and of companies that the contact's person stood behind."""
        changes = self.world.rows(
            "select account_id, field, old_value, new_value, n_contacts from ledger.account_changes "
            "where entry_id > ? and account_id in (?, ?)",
            since,
            *self.accounts,
        )
        activities = self.world.rows(
            "select field, old_value, new_value from ledger.activities where activity_id > ? and person_id = ?",
            since,
            self.people[1],
        )
        kinds = {name: rule.type for name, rule in OF_COMPANIES.items()}
        of_accounts = (
            (self.accounts.index(account), name, told(old, kinds[name]), told(new, kinds[name]), count)
            for account, name, old, new, count in changes
        )
        of_contact = (
            (name, told(old, kinds[name]), told(new, kinds[name])) for name, old, new in activities if name in kinds
        )
        return Told(sorted(of_accounts), sorted(of_contact))
