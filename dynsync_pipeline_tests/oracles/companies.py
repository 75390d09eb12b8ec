"""What must become of companies in Marketo, and who stands behind which, written from the rules' text alone (R22, R51 to R61,
R131): slow, plain and obviously right.

As in `three_way_merge.py` nothing here imports the pipeline. What becomes of a lead's company text is told there, because it
is merged like any field of the lead; here stands only where it lives. All values are as they compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[str, str | None]
Moved = dict[str, tuple[str | None, str | None]]  # field: old and new value


@dataclass(frozen=True)
class Account:
    """An account as a cycle finds it; `company` is what its company in Marketo holds, None where there is none.

    `is_updated`: Dynamics told an update that Marketo has not got yet. `is_ended`: it was deleted or deactivated.
    """

    values: Values
    company: Values | None
    is_updated: bool
    is_ended: bool = False

    @property
    def is_applied(self) -> bool:
        """R52: on any update, and not after its end (R61)."""
        return self.is_updated and not self.is_ended

    def company_after(self) -> Values | None:
        """R52, R65: the whole row where it is applied, local edits included; else what stood there."""
        return self.values if self.is_applied else self.company

    def changes(self) -> Moved:
        """R56, R57: what is told of the account itself; a company that Marketo gets only now was changed by nobody."""
        return differing(self.company, self.values) if self.is_applied and self.company is not None else {}


def differing(before: Values, after: Values) -> Moved:
    """R56: only where old and new differ."""
    return {name: (before.get(name), after.get(name)) for name in after if before.get(name) != after.get(name)}


def key_of_contact(record_id: str, account_id: str | None, account: Account | None, held: str | None) -> str | None:
    """The company that a contact's person must stand behind; `held` is the key of the one that it stands behind."""
    if account is not None and account.company_after() is not None:
        return account_id  # R22, R59; also one that ended (R61)
    return None if held is None else f"contact:{record_id}"  # R60


def activities_of_contact(account: Account | None, shown: Values, wanted: Values, *, is_moved: bool) -> Moved:
    """R53, R59: of a contact that stays, what changed of its account; of one that moves, all that its person shows otherwise.

    `account`: of the company that it stays behind. `shown`: before the cycle, `wanted`: what the company it joins is to hold.
    """
    if is_moved:
        return differing(shown, wanted)
    return account.changes() if account is not None else {}


def key_of_lead(record_id: str, held: str | None, *, has_text: bool, has_company: bool) -> str | None:
    """R131: a company of its own as soon as either side has text of it, and from then on."""
    return f"lead:{record_id}" if has_text or has_company else held
