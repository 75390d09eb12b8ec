"""What must become of a lead that is qualified, and of records that are merged in Dynamics, written from the rules' text alone
(R25, R42, R81, R95 to R99): slow, plain and obviously right.

As in `three_way_merge.py` nothing here imports the pipeline. All values are as they compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dynsync_pipeline_tests.oracles.three_way_merge import Rule

Values = Mapping[str, str | None]


@dataclass
class Agreed:
    """What the two sides of a link last had in common, by field; `standing`: two unequal values that were accepted, Dynamics' and
    Marketo's; `unmet`: fields on which they never agreed (R42), whatever `base` says of them; `foreign`: those that go one way,
    and whose owner held a blank then: what the other side held stands until the owner sends the record again (R43).
    """

    base: dict[str, str | None]
    standing: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    unmet: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)

    def settle(self, name: str, base: str | None) -> None:
        """Both sides agree on this value."""
        self.base[name] = base
        self.standing.pop(name, None)
        self.unmet.discard(name)
        self.foreign.discard(name)

    def stand(self, name: str, dynamics: str | None, marketo: str | None) -> None:
        """At a first meeting of a field that goes one way nothing was sent."""
        self.settle(name, None)
        self.standing[name] = (dynamics, marketo)
        self.foreign.add(name)

    def person_got(self, record: Values, rules: Mapping[str, Rule]) -> Values:
        """R81: of each field that goes to Marketo what the person got of its record; where they never agreed, what that holds."""
        return {
            name: record[name] if name in self.unmet else self.standing.get(name, (self.base[name], None))[0]
            for name, rule in rules.items()
            if rule.direction != "to_dynamics"
        }


def agreed_of_contact(of_lead: Agreed, contact: Values, rules: Mapping[str, Rule]) -> Agreed:
    """R96: what a person and the contact that its lead became have in common, before anything is compared; `rules` of contacts.

    What both sides of the lead held stays the base, so that an edit of either is told from it. A column that is blank on the
    contact may be one that Qualify did not copy, and a score is only Marketo's: the two meet for the first time (R42, R44).
    """
    unmet = {
        name
        for name, rule in rules.items()
        if name in of_lead.unmet
        or rule.direction == "to_dynamics"
        or contact[name] is None
        or (rule.type == "boolean" and contact[name] == "false")
    }
    base = {name: of_lead.base[name] for name in rules}
    standing = {name: values for name, values in of_lead.standing.items() if name in rules and name not in unmet}
    return Agreed(base, standing, unmet)


def told_of_lead(of_lead: Agreed, lead: Values, contact: Values, rules: Mapping[str, Rule]) -> Values:
    """What of a qualified lead is told to Marketo, so that whatever differs from it, then or later, is an edit that nobody
    got: its contact tells what it holds too, or has no column for. `rules` of leads.
    """
    got = of_lead.person_got(lead, rules)
    return {
        name: got[name]
        if rules[name].direction == "both" and name in contact and contact[name] != lead[name]
        else lead[name]
        for name in got
    }
