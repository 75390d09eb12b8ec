"""Accounts, their contacts and a plain reading of the rules agree on what becomes of companies, on random edits of a cycle."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.oracles.companies import Account, activities_of_contact, key_of_contact
from dynsync_pipeline_tests.properties.effort import examples
from dynsync_pipeline_tests.worlds.every_type import POOLS, RULES, column_of, in_marketo
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.oracle_companies import (
    OF_COMPANIES,
    company_of,
    company_on,
    compared_account,
    map_with_companies,
    told,
)
from dynsync_pipeline_tests.worlds.rows import Values

ACCOUNT, CONTACT = RecordType.ACCOUNT, RecordType.CONTACT
N_ACCOUNTS, N_CONTACTS = 4, 8  # a cycle costs as much for them as for one


class End(StrEnum):
    """How an account, or a contact's link, may end."""

    DEACTIVATED = "statecode"
    DELETED = "its record"
    PERSON_DELETED = "its person"


class Company(NamedTuple):
    """An account, from its values at first over what its company is edited to, to its own edits; None: it is not edited."""

    start: Values
    local: Values
    edits: Values | None
    end: End | None


class Contact(NamedTuple):
    """A contact, and the accounts that it stands under, before and after."""

    before: int | None
    after: int | None
    end: End | None


def values_of(names: st.SearchStrategy[set[str]]) -> st.SearchStrategy[Values]:
    def drawn(some: set[str]) -> st.SearchStrategy[Values]:
        return st.fixed_dictionaries({name: st.sampled_from(POOLS[OF_COMPANIES[name].type]) for name in sorted(some)})

    return names.flatmap(drawn)


every_name = st.just(set(OF_COMPANIES))
some_names = st.sets(st.sampled_from(sorted(OF_COMPANIES)), max_size=3)
companies = st.builds(
    Company,
    values_of(every_name),
    values_of(some_names),
    st.none() | values_of(some_names),
    st.sampled_from([None, None, None, End.DEACTIVATED, End.DELETED]),
)
parents = st.sampled_from([None, *range(N_ACCOUNTS)])
contacts = st.builds(
    Contact, parents, parents, st.sampled_from([None, None, None, None, End.DELETED, End.PERSON_DELETED])
)


@dataclass
class Stage:
    """A world used by many examples, each with accounts and contacts of its own."""

    world: MemoryWorld
    n_used: int = 0
    people: list[int] = field(default_factory=list)

    def account(self, place: int | None) -> str | None:
        return None if place is None else f"a{self.n_used}-{place}"

    def contact(self, place: int) -> str:
        return f"c{self.n_used}-{place}"

    def set_up(self, accounts: list[Company], drawn: list[Contact]) -> None:
        self.n_used += 1
        for place, account in enumerate(accounts):
            self.put(place, account.start, statecode="0")
        self.people = [self.world.link(CONTACT, self.contact(place), title="A") for place in range(N_CONTACTS)]
        self.move({place: contact.before for place, contact in enumerate(drawn)})
        self.world.cycle()
        self.mark = max(row[0] for row in self.world.rows(_NEWEST))

    def put(self, place: int, values: Values, **more: str) -> None:
        columns = {column_of(name): value for name, value in values.items()}
        self.world.dynamics.put(ACCOUNT, f"a{self.n_used}-{place}", **columns, **more)

    def move(self, parents: dict[int, int | None]) -> None:
        for place, parent in parents.items():
            self.world.dynamics.put(CONTACT, self.contact(place), _parentcustomerid_value=self.account(parent))

    def play(self, accounts: list[Company], drawn: list[Contact]) -> None:
        """What people do before the cycle."""
        for place, account in enumerate(accounts):
            shown = {name: in_marketo(value, OF_COMPANIES[name].type) for name, value in account.local.items()}
            self.world.marketo.put_company(f"a{self.n_used}-{place}", **shown)
            if account.edits is not None:
                self.put(place, account.edits)
            if account.end is End.DEACTIVATED:
                self.put(place, {}, statecode="1")
            elif account.end is End.DELETED:
                self.world.dynamics.delete(ACCOUNT, f"a{self.n_used}-{place}")
        self.move({place: contact.after for place, contact in enumerate(drawn) if contact.after != contact.before})
        for place, contact in enumerate(drawn):
            if contact.end is End.DELETED:
                self.world.dynamics.delete(CONTACT, self.contact(place))
            elif contact.end is End.PERSON_DELETED:
                self.world.marketo.delete(self.people[place])

    def key(self, person_id: int) -> str | None:
        return self.world.marketo.rows[person_id].values.get(COMPANY_KEY)

    def told_of_accounts(self) -> list[tuple[Any, ...]]:
        rows = self.world.rows(
            "select account_id, field, old_value, new_value, n_contacts from ledger.account_changes where entry_id > ?",
            self.mark,
        )
        return sorted(((i, name, *_told(name, old, new), n) for i, name, old, new, n in rows), key=repr)

    def told_of_people(self) -> list[tuple[Any, ...]]:
        rows = self.world.rows(
            "select person_id, field, old_value, new_value from ledger.activities where activity_id > ?", self.mark
        )
        return sorted(((i, n, *_told(n, old, new)) for i, n, old, new in rows if n in OF_COMPANIES), key=repr)


_NEWEST = (
    "select coalesce(max(entry_id), 0) from ledger.account_changes "
    "union all select coalesce(max(activity_id), 0) from ledger.activities"
)


def _told(name: str, old: str | None, new: str | None) -> tuple[str | None, str | None]:
    kind = OF_COMPANIES[name].type
    return told(old, kind), told(new, kind)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage(MemoryWorld(map_with_companies({"title": RULES["title"]}, {})))


@examples(3)  # the first of which is the least
@given(
    accounts=st.lists(companies, min_size=N_ACCOUNTS, max_size=N_ACCOUNTS),
    drawn=st.lists(contacts, min_size=N_CONTACTS, max_size=N_CONTACTS),
)
def test_companies_people_and_what_is_told_of_them_are_as_the_rules_say(
    stage: Stage, accounts: list[Company], drawn: list[Contact]
) -> None:
    """R52 to R61, R65: what companies hold, whom they stand behind, what is told of each account and each contact; then rest."""
    stage.set_up(accounts, drawn)
    stage.play(accounts, drawn)
    seen = [as_seen(stage, place, account) for place, account in enumerate(accounts)]
    people = [(stage.key(person), company_on(stage.world.marketo, person) if not is_gone(contact) else {})
              for person, contact in zip(stage.people, drawn, strict=True)]  # fmt: skip
    stage.world.cycle()
    for place, found in enumerate(seen):
        assert company_of(stage.world.marketo, f"a{stage.n_used}-{place}") == found.company_after()
    told_of_people = []
    for place, (contact, (held, shown)) in enumerate(zip(drawn, people, strict=True)):
        account = None if contact.after is None else seen[contact.after]
        wanted = key_of_contact(stage.contact(place), stage.account(contact.after), account, held)
        if contact.end is not None:
            wanted = held
        assert stage.key(stage.people[place]) == wanted
        if contact.end is None:
            after = (account.company_after() if account else None) or compared_account({})
            moved = activities_of_contact(account, shown, after, is_moved=wanted != held)
            told_of_people += [(stage.people[place], name, *values) for name, values in moved.items()]
    assert stage.told_of_people() == sorted(told_of_people, key=repr)
    told_of_accounts = [
        (stage.account(place), name, *values, sum(c.end is None and c.after == place for c in drawn))
        for place, found in enumerate(seen)
        for name, values in found.changes().items()
    ]
    assert stage.told_of_accounts() == sorted(told_of_accounts, key=repr)
    quiet = stage.world.cycle()
    assert quiet is not None
    assert quiet.n_operations == 0


def as_seen(stage: Stage, place: int, account: Company) -> Account:
    """An account, and its company, as the cycle finds them."""
    row = stage.world.dynamics.rows[ACCOUNT, f"a{stage.n_used}-{place}"].values
    company = company_of(stage.world.marketo, f"a{stage.n_used}-{place}")
    is_updated = account.edits is not None or account.end is not None
    return Account(compared_account(row), company, is_updated, is_ended=account.end is not None)


def is_gone(contact: Contact) -> bool:
    return contact.end is End.PERSON_DELETED
