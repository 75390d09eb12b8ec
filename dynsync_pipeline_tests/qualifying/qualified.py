"""Leads that are qualified in a world in memory, and what the tests ask of their people. Not tests."""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true", "phone,telephone1,text,both,true", "city,address1_city,text,both,true",
    "doNotCall,donotphone,boolean,both,true", "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)  # fmt: skip
VALUES = {"title": "Buyer", "phone": "1", "city": "Bern"}
COLUMNS = {"title": "jobtitle", "phone": "telephone1", "city": "address1_city"}


def met(*leads: str, **more: str) -> tuple[MemoryWorld, dict[str, int]]:
    """A world with these leads, all alike and synced; their people."""
    world = MemoryWorld(FIELDS)
    people = {lead: world.link(LEAD, lead, **VALUES | more) for lead in leads}
    world.settled()
    return world, people


def make_contact(world: MemoryWorld, lead: str, contact: str, **values: str | None) -> None:
    """The contact that Qualify makes: of the lead's columns, with `values` in place of some."""
    copied = {column: world.dynamics.rows[LEAD, lead].values.get(column) for column in COLUMNS.values()}
    world.dynamics.put(CONTACT, contact, **copied | values, _originatingleadid_value=lead)


def close_lead(world: MemoryWorld, lead: str, contact: str) -> None:
    """What Qualify does to the lead."""
    world.dynamics.put(LEAD, lead, statecode="1", _parentcontactid_value=contact)


def qualify(world: MemoryWorld, lead: str, contact: str, **values: str | None) -> None:
    make_contact(world, lead, contact, **values)
    close_lead(world, lead, contact)


def people_of(world: MemoryWorld, lead: str, contact: str) -> list[int]:
    """Everybody in Marketo who bears one of the two ids."""
    return sorted({*world.marketo.bearers(KEYS.lead_id, lead), *world.marketo.bearers(KEYS.contact_id, contact)})


def assert_is_contact(world: MemoryWorld, person: int, lead: str, contact: str) -> None:
    assert people_of(world, lead, contact) == [person]
    assert world.rows("select record_type, dynamics_id from state.links where person_id = ?", person) == [
        ("contact", contact)
    ]
    values = world.marketo.rows[person].values
    assert (values[KEYS.contact_id], values.get(KEYS.lead_id), values[KEYS.person_type]) == (contact, None, "Contact")
    assert values[KEYS.created_on] == world.dynamics.rows[CONTACT, contact].values["createdon"]
    assert values.get(KEYS.is_deleted) != "true"
