"""Kills while accounts and new people wait, and are approved, with edits of either side in between.

Not here: the same of single fields, and without edits (`test_approvals.py`).
"""

from __future__ import annotations

import pytest

from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.reconcile.test_approvals import ACCOUNT, CONTACT, COUNTED, waiting, yes
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story


def company(world: MemoryWorld) -> str | None:
    return world.marketo.company_rows["large"]["company"]


def written(world: MemoryWorld) -> dict[str, int]:
    """Each value of the account that was written, and how often."""
    return dict(world.rows("select new_value, count(*) from ledger.account_changes where cycle_id > 1 group by all"))


@pytest.mark.parametrize("cut_after", sampled([24, 16, 18, 20, 22, 26, 28, 30, 32, 34, 36], 1))
def test_an_edit_in_dynamics_after_the_word_is_asked_of_anew_wherever_the_kill_falls(cut_after: int) -> None:
    """An account waits for its whole row. Who is new is created with what stands there by then; who is gone is not."""
    world = waiting(cut_after)
    yes(world)
    world.dynamics.put(ACCOUNT, "large", name="C")
    world.dynamics.put(CONTACT, "new0", jobtitle="M")
    world.dynamics.delete(CONTACT, "new1")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert (company(world), world.rows(COUNTED)) == ("A", [("account", "large", "to_marketo", 3, 1)])
    assert len(world.marketo.rows) == 5
    titles = sorted(row.values["title"] or "" for row in world.marketo.rows.values())
    assert titles == ["A", "A", "A", "M", "N"]
    yes(world)
    world.cycle(cut_after=cut_after)
    world.settled()
    assert (company(world), written(world)) == ("C", {"C": 1})
    assert world.rows("from state.approvals") == world.rows("from state.unsettled") == []


@pytest.mark.parametrize("cut_after", sampled([24, 16, 18, 20, 22, 26, 28, 30, 32, 34, 36], 1))
def test_an_edit_in_marketo_after_the_word_loses_nothing_and_doubles_nobody_wherever_the_kill_falls(
    cut_after: int,
) -> None:
    """Somebody edits the company by hand, and enters a person who bears the key of a new contact."""
    world = waiting(cut_after)
    yes(world)
    person = world.marketo.next_id
    world.marketo.put(person, title="by hand", **{KEYS.contact_id: "new0"})
    world.marketo.put_company("large", company="local")
    world.cycle(cut_after=cut_after)
    world.settled()
    bearers = {name: len(world.marketo.bearers(KEYS.contact_id, name)) for name in ("new0", "new1", "new2")}
    assert bearers == dict.fromkeys(bearers, 1)
    assert world.both(person, "title")[1] is not None
    yes(world)
    world.cycle(cut_after=cut_after)
    world.settled()
    assert (company(world), written(world)) == ("B", {"B": 1})
    assert world.rows("from state.approvals") == []
