"""A lead and a contact may have one id, as ids of two tables of Dynamics may; they are two records."""

from __future__ import annotations

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD


def test_a_new_lead_with_the_id_of_a_contact_that_gets_an_account_changes_nothing_for_the_contact() -> None:
    world = MemoryWorld()
    world.dynamics.put(ACCOUNT, "acc", name="Acme")
    person = world.link(CONTACT, "x", title="one")
    world.settled()
    world.dynamics.put(CONTACT, "x", jobtitle="two", _parentcustomerid_value="acc")
    world.dynamics.put(LEAD, "x", jobtitle="lead")
    world.cycle()
    assert world.rows(f"select wanted_key from company_links where person_id = {person}") == [("acc",)]
    world.settled()
    linked = world.rows("select record_type from state.links where dynamics_id = 'x' order by 1")
    assert linked == [("contact",), ("lead",)]
    assert {row.values["title"] for row in world.marketo.rows.values()} == {"two", "lead"}
