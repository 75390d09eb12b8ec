"""A world whose tables have a filter column, and what the tests of the filter ask it. Not tests."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.records import FILTER_COLUMN, RecordType
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
YES, NO = {FILTER_COLUMN: "true"}, {FILTER_COLUMN: "false"}
EMPTY: dict[str, str | None] = {FILTER_COLUMN: None}
STARTED = "Create [StartSync]"
LINES = (
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)


def filtered_world(*, publishes: bool = False) -> MemoryWorld:
    """A world whose tables have a filter column, as all in memory do."""
    return MemoryWorld(field_map(*LINES), publishes=publishes)


def drop_filter(world: MemoryWorld, *, is_told: bool) -> None:
    """Somebody drops the column; `is_told`: just before the daily look at the definitions, else a read is refused first."""
    world.dynamics.hidden.add(FILTER_COLUMN)
    world.dynamics.refused.add(FILTER_COLUMN)
    if is_told:
        world.clock += timedelta(days=1)


def make_filter(world: MemoryWorld) -> None:
    """The column is there, or back; while one is lost every cycle asks for the definitions, else a day has passed."""
    world.dynamics.hidden.clear()
    world.dynamics.refused.clear()
    world.dynamics.limits.clear()
    if not world.rows("from state.lost_filters where not is_given_up"):
        world.clock += timedelta(days=1)


def people_of(world: MemoryWorld, record_id: str) -> list[int]:
    """The living people who bear the key of a contact or lead of this id."""
    return [i for key in (KEYS.contact_id, KEYS.lead_id) for i in world.marketo.bearers(key, record_id)]


def starts(world: MemoryWorld) -> list[int]:
    """Whose log has an entry that the sync of its record was started, in order; twice where it has two."""
    found = world.rows("select person_id from ledger.activities where activity_type = ? order by all", STARTED)
    return [row[0] for row in found]


def kept_out(world: MemoryWorld) -> list[tuple[str, str]]:
    """The records that the filter keeps out, by type and id."""
    return [
        (row[0], row[1]) for row in world.rows("select record_type, dynamics_id from state.filtered_out order by all")
    ]


def rests(world: MemoryWorld) -> None:
    """Another cycle writes and logs nothing (R12)."""
    before = (world.dynamics.writes[:], world.marketo.writes[:], world.ledger(), starts(world))
    assert world.settled() == 0
    assert before == (world.dynamics.writes, world.marketo.writes, world.ledger(), starts(world))
