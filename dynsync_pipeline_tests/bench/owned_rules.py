"""Whether what people own of the rules costs by the changes or by the size of the database: approvals, reviews, rules, undo.

Run it by hand: `python -m dynsync_pipeline_tests.bench.owned_rules 2000 200000`. Of a store that was multiplied in SQL
(`sizes.py`), a hundred people all over it stand in both systems, too. They are edited, and whole cycles are measured, from
reading to publication, in processor seconds of this process, with what the commands do in between. Ratios matter, not times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.undo import OURS, want_undo
from dynsync_pipeline.warehouse.approvals import approve_causes
from dynsync_pipeline.warehouse.reviews import decide, open_reviews
from dynsync_pipeline_tests.bench.sizes import multiplied
from dynsync_pipeline_tests.worlds.memory import field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

N_CHANGES = 100
CONTACT = RecordType.CONTACT
TEXTS = {"title": "jobtitle", "phone": "telephone1", "city": "address1_city", "fax": "fax"}
Step = tuple[str, Callable[[], object]]


def rules() -> FieldMap:
    """A field for each rule that somebody may choose."""
    return field_map(
        "title,jobtitle,text,both,true",
        "phone,telephone1,text,both,true,review",
        "city,address1_city,text,both,true,newest",
        "fax,fax,text,both,true,never_clear",
        "doNotCall,donotphone,boolean,both,true,restrictive:true",
    )


class Edited:
    """A world of so many people, of whom a hundred are edited."""

    def __init__(self, n_people: int) -> None:
        self.world = multiplied(n_people, rules())
        self.world.allow(census_share=0.0)  # which would find that the systems hold none of the others
        self.people = dict(self.world.rows(
            "select person_id, dynamics_id from (from state.links where person_id > 100000) "
            f"using sample reservoir({N_CHANGES} rows) repeatable (7)"
        ))  # fmt: skip
        self._bring_into_the_systems()
        self.world.settled()
        self.last_edits = 0

    def _bring_into_the_systems(self) -> None:
        columns = ", ".join(TEXTS)
        held = self.world.rows(
            f"select person_id, {columns} from mirror.marketo_people where list_contains(?, person_id)",
            list(self.people),
        )
        for person_id, *texts in held:
            values = dict(zip(TEXTS, texts, strict=True))
            record_id = self.people[person_id]
            self.world.dynamics.put(CONTACT, record_id, **{TEXTS[name]: text for name, text in values.items()})
            own = {KEYS.contact_id: record_id, **self.world.told_of(CONTACT, record_id)}
            self.world.marketo.put(person_id, **own, **values)

    def in_marketo(self, **values: str | None) -> None:
        """A marketer edits all hundred."""
        for person_id in self.people:
            self.world.marketo.put(person_id, **values)

    def in_dynamics(self, **values: str | None) -> None:
        """A salesperson does."""
        for record_id in self.people.values():
            self.world.dynamics.put(CONTACT, record_id, **values)

    def on_both(self, name: str, text: str) -> None:
        """Both sides of a field are edited, to different values."""
        self.in_marketo(**{name: f"{text} in Marketo"})
        self.in_dynamics(**{TEXTS[name]: f"{text} in Dynamics"})

    # -- commands -----------------------------------------------------------------------------------------------------

    def approve(self) -> None:
        """`dynsync approve --accept all`."""
        with self.world.warehouse.transaction() as connection:
            assert approve_causes(connection, None, "me", self.world.now().replace(tzinfo=None)) == N_CHANGES

    def decide(self) -> None:
        """`dynsync review --apply FILE`."""
        with self.world.warehouse.transaction() as connection:
            choices = dict.fromkeys(open_reviews(connection), "marketo")
            assert len(choices) == N_CHANGES
            decide(connection, choices, "me", self.world.now().replace(tzinfo=None))

    def undo(self) -> None:
        """`dynsync undo CYCLE --apply`, before its cycle."""
        with self.world.warehouse.transaction() as connection:
            found = want_undo(connection, self.last_edits, None, None)
        assert [each.verdict for each in found] == [OURS] * N_CHANGES

    # -- all of it -----------------------------------------------------------------------------------------------------

    def story(self) -> Iterator[Step]:
        """What is done, one after the other; what comes before it is no part of it."""
        yield "nothing happened", self._cycle
        self.in_marketo(title="B")
        yield "100 edits", self._cycle
        ((self.last_edits,),) = self.world.rows("select max(cycle_id) from ledger.cycles")
        self.world.allow(ask_above=N_CHANGES // 2)
        self.in_dynamics(jobtitle="C")
        yield "100 edits that wait for approval", self._cycle
        yield "nothing happened, 100 wait for approval", self._cycle
        yield "approve, 100 values", self.approve
        yield "100 approved values are written", self._cycle
        self.world.allow(ask_above=None)
        self.on_both("phone", "B")
        yield "100 collisions for review", self._cycle
        yield "nothing happened, 100 in review", self._cycle
        yield "review, 100 words", self.decide
        yield "100 reviewed values are written", self._cycle
        self.on_both("city", "B")
        yield "100 collisions, newest", self._cycle
        self.in_marketo(fax=None)
        yield "100 emptied, never_clear", self._cycle
        self.in_marketo(doNotCall="true")
        yield "100 opted out, restrictive", self._cycle
        self.in_marketo(title="D")
        self._cycle()
        ((self.last_edits,),) = self.world.rows("select max(cycle_id) from ledger.cycles")
        yield "undo, the plan of 100 values", self.undo
        yield "100 values are undone", self._cycle
        yield "the echo of what was undone", self._cycle

    def _cycle(self) -> None:
        assert self.world.cycle() is not None

    def require_all_done(self) -> None:
        """Raise AssertionError where the story did not do what it says."""
        done = dict(
            self.world.rows("select rule_code, count(*) from ledger.changes where person_id > 100000 group by all")
        )
        collided = dict(self.world.rows("select rule_code, count(*) from ledger.collisions group by all"))
        assert (done.get("undo"), collided.get("reviewed")) == (N_CHANGES, N_CHANGES), (done, collided)


def run_statements_once() -> None:
    """Play the story in a small world: the first time in a process a statement runs that is left out later."""
    for _, run in Edited(2_000).story():
        run()


def main() -> None:
    """Measure each size in turn, and print how many times as long as the smallest it takes."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [2_000, 200_000]
    found = {size: measured(size) for size in sizes}
    for kind in found[sizes[0]]:
        smallest = found[sizes[0]][kind]
        for size in sizes:
            print(f"{kind:42} {size:>10,}  {found[size][kind]:8.3f} s  ×{found[size][kind] / smallest:.1f}")


def measured(n_people: int) -> dict[str, float]:
    """Processor seconds by step."""
    run_statements_once()
    edited = Edited(n_people)
    times: dict[str, float] = {}
    for title, run in edited.story():
        started_s = time.process_time()
        run()
        times[title] = time.process_time() - started_s
    edited.require_all_done()
    return times


if __name__ == "__main__":
    main()
