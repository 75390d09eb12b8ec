"""Fields that one system owns: they never collide, and a foreign edit is overwritten (R43, R44).

A lead and a contact stand side by side in each world.
"""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.rows import Values

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)


class Linked(MemoryWorld):
    """A lead and a contact, linked, with a value in each field."""

    def __init__(self) -> None:
        super().__init__(FIELDS)
        self.people = {
            record_type: self.link(record_type, "r", title="A", source="S", leadScore="1")
            for record_type in (LEAD, CONTACT)
        }
        self.settled()

    def edit(self, dynamics: Values, marketo: Values) -> None:
        """Edit both records and both people."""
        for record_type, person_id in self.people.items():
            if dynamics:
                self.dynamics.put(record_type, "r", **dynamics)
            if marketo:
                self.marketo.put(person_id, **marketo)

    def held(self, name: str) -> set[tuple[str | None, str | None]]:
        """What the two systems hold of a field: one pair, where lead and contact hold the same."""
        return {self.both(person_id, name) for person_id in self.people.values()}

    def bases(self, name: str) -> set[str | None]:
        return {self.base(person_id, name) for person_id in self.people.values()}


@story
def test_the_owner_s_edits_travel_whatever_the_type() -> None:
    world = Linked()
    world.edit({"new_source": "T"}, {"leadScore": "2"})
    world.settled()
    assert world.held("source") == {("T", "T")}
    assert world.held("leadScore") == {("2", "2")}


@story
def test_the_owner_s_clear_travels_too() -> None:
    world = Linked()
    world.edit({"new_source": None}, {"leadScore": None})
    world.settled()
    assert world.held("source") == {(None, None)}
    assert world.held("leadScore") == {(None, None)}


def test_two_edits_never_collide_and_the_owner_wins() -> None:
    world = Linked()
    world.edit({"new_source": "T", "mkt_leadscore": "8"}, {"source": "typed", "leadScore": "2"})
    world.settled()
    assert world.held("source") == {("T", "T")}
    assert world.held("leadScore") == {("2", "2")}
    assert world.ledger()["collisions"] == []


@story
def test_a_foreign_edit_stays_where_it_was_made_until_the_owner_s_record_changes() -> None:
    """Then it is overwritten, as an account's local edits are (R52), once."""
    world = Linked()
    world.edit({"mkt_leadscore": "8"}, {"source": "typed"})
    world.settled()
    assert {dynamics for dynamics, _ in world.held("source")} == {"S"}, "never carried to the owner"
    assert {marketo for _, marketo in world.held("leadScore")} == {"1"}
    world.edit({"jobtitle": "B"}, {})
    world.settled()
    assert world.held("source") == {("S", "S")}
    world.edit({}, {"title": "C"})
    world.settled()
    assert world.held("leadScore") == {("1", "1")}
    n_written = len(world.ledger()["changes"])
    assert world.settled() == 0
    assert len(world.ledger()["changes"]) == n_written


def test_a_foreign_edit_alone_writes_nothing() -> None:
    world = Linked()
    world.edit({}, {"source": "typed"})
    assert world.settled() == 0
    assert world.held("source") == {("S", "typed")}
    assert world.bases("source") == {"S"}


@story
def test_a_foreign_edit_taken_back_leaves_no_trace() -> None:
    world = Linked()
    world.edit({}, {"source": "typed"})
    world.settled()
    world.edit({}, {"source": "S"})
    world.settled()
    assert world.standing() == []
    assert world.ledger()["changes"] == []


@story
def test_a_foreign_edit_to_the_owner_s_next_value_is_no_write() -> None:
    """R38 holds for one-way fields too."""
    world = Linked()
    world.edit({"new_source": "T"}, {"source": "T"})
    assert world.settled() == 0
    assert world.bases("source") == {"T"}
