"""A consent of the rule `restrictive` in cycles that are killed: nobody is reached who said no, and nothing is told twice (R132).

Not here: what the rule decides (`test_collision_rules.py`).
"""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "doNotCall,donotphone,boolean,both,true,restrictive:true",
    "mayMail,new_maymail,boolean,both,true,restrictive:false",
)
YES, NO = {"doNotCall": "false", "mayMail": "true"}, {"doNotCall": "true", "mayMail": "false"}
KILLS = range(12, 34) if is_deep() else (16, 25)  # once people have landed, and between two writes


def in_dynamics(held: dict[str, str]) -> dict[str, str]:
    return {"donotphone": held["doNotCall"], "new_maymail": held["mayMail"]}


def both(world: MemoryWorld, person_id: int) -> dict[str, tuple[str | None, str | None]]:
    return {name: world.both(person_id, name) for name in YES}


def agreed(held: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (value, value) for name, value in held.items()}


EDITS = ("out_marketo", "out_dynamics", "in_marketo", "in_dynamics")  # an opt-out or an opt-in, and who said it


def test_whatever_is_killed_the_value_that_forbids_wins_a_first_meeting_and_an_edit_of_one_side_passes() -> None:
    """And a no that somebody says after the kill, on either side, is the last word."""
    world = MemoryWorld(FIELDS)
    for cut_after in KILLS:
        edited: dict[str, int] = {}
        for kind in (CONTACT, LEAD):
            edited |= {
                f"{name}-{kind}-{cut_after}": world.link(
                    kind, f"{name}-{kind}-{cut_after}", **(NO if name.startswith("in") else YES)
                )
                for name in EDITS
            }
        world.settled()
        met = [
            first_meeting(world, kind, side, cut_after) for kind in (CONTACT, LEAD) for side in ("dynamics", "marketo")
        ]
        for name, person_id in edited.items():
            say(world, name, person_id, YES if name.startswith("in") else NO)
        world.cycle(cut_after=cut_after)
        for name, person_id in edited.items():
            if name.startswith("in"):
                say(world, name, person_id, NO)
        world.settled()
        assert all(both(world, person_id) == agreed(NO) for person_id in (*met, *edited.values())), cut_after
    told = "select winner, rule_code, count(*) from ledger.collisions group by all order by all"
    # Of doNotCall the no meets a blank, which is filled.
    assert world.rows(told) == [(side, "stricter_wins", 2 * len(KILLS)) for side in ("dynamics", "marketo")]


def first_meeting(world: MemoryWorld, kind: RecordType, side: str, number: int) -> int:
    """Somebody whom `side` alone says no of."""
    person_id = world.link(kind, f"{side}-{kind}-{number}", **NO)
    if side == "dynamics":
        world.marketo.rows[person_id].values.update(YES)
    else:
        world.dynamics.put(kind, f"{side}-{kind}-{number}", **in_dynamics(YES))
    return person_id


def say(world: MemoryWorld, name: str, person_id: int, said: dict[str, str]) -> None:
    """Who said it is in the name of the record."""
    on, kind, _ = name.split("_")[1].split("-")
    if on == "marketo":
        world.marketo.put(person_id, **said)
    else:
        world.dynamics.put(RecordType(kind), name, **in_dynamics(said))
