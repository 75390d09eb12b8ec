"""A lead's company text where its company is left over or somebody else's, or the field of accounts is parked (R131)."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.reconcile.test_keyless_companies import a_world, collisions, entered, shown
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

LEAD = RecordType.LEAD
# A checkbox, and a number that leads have finer than accounts.
FINER = parse_field_map(
    HEADER
    + "account,annualRevenue,revenue,decimal,to_marketo,true\n"
    + "account,listed,new_listed,boolean,to_marketo,true\n"
    + "lead,annualRevenue,new_fine,decimal,both,true\n"
    + "lead,listed,new_listed,boolean,both,true\n"
    + "lead,title,jobtitle,text,both,true\n",
    "test.csv",
)


@story
def test_a_new_person_shows_nothing_that_is_left_on_the_company_of_the_one_before() -> None:
    """R81: what sales emptied after the person was deleted was emptied; the company outlives its people."""
    world, (person,) = a_world()
    world.dynamics.put(LEAD, "r0", companyname="Acme", revenue="5")
    world.settled()
    assert shown(world, person)[:3] == ("lead:r0", "Acme", "5")
    world.marketo.delete(person)
    world.settled()
    world.dynamics.put(LEAD, "r0", companyname=None)
    world.settled()
    (new,) = world.marketo.bearers(KEYS.lead_id, "r0")
    assert (shown(world, new)[:3], entered(world, "r0")) == (("lead:r0", None, "5"), (None, "5"))
    assert world.standing() == []


@story
def test_a_leads_company_text_stays_on_its_company_where_the_field_of_accounts_is_parked() -> None:
    """R63, R107: it never goes through the person, and both sides' edits go on."""
    world, people = a_world(n_leads=2)
    world.dynamics.put(LEAD, "r0", companyname="Acme")
    world.settled()
    world.dynamics.hidden.add("name")  # of accounts
    world.clock += timedelta(days=2)
    world.settled()
    world.dynamics.put(LEAD, "r0", companyname="In Dynamics")
    world.marketo.put(people[1], company="In Marketo", title="B")
    world.settled()
    assert [shown(world, person)[:2] for person in people] == [("lead:r0", "In Dynamics"), ("lead:r1", "In Marketo")]
    assert entered(world, "r1")[0] == "In Marketo"
    assert not any("company" in values for _, values in world.marketo.writes)
    world.dynamics.hidden.clear()
    world.marketo.put_company("lead:r0", company="In Marketo")
    world.clock += timedelta(days=2)
    world.settled()
    assert (entered(world, "r0")[0], world.ledger()["collisions"]) == ("In Marketo", [])


@story
def test_a_checkbox_that_nobody_set_is_no_company_text_and_a_number_moves_as_fine_as_it_was_entered() -> None:
    """R42, R131: else each lead would get a company; R45: the account's column says nothing of the lead's places."""
    world = MemoryWorld(FINER)
    world.dynamics.places.update(revenue=2, new_fine=4)
    people = [world.link(LEAD, f"r{n}", title="A") for n in range(3)]
    world.marketo.put_company("lead:r2", listed="true")
    world.marketo.put(people[2], **{COMPANY_KEY: "lead:r2"})
    world.settled()
    assert list(world.marketo.company_rows) == ["lead:r2"]
    world.marketo.put(people[1], annualRevenue="5.1234", title="B")
    world.marketo.put(71, **{KEYS.lead_id: "r2"}, title="A")  # shows the checkbox as not set, which nobody did
    world.marketo.merge(71, people[2])
    world.settled()
    rows = world.dynamics.rows
    assert (rows[LEAD, "r1"].values["new_fine"], world.marketo.company_rows["lead:r1"]["annualRevenue"]) == (
        "5.1234",
    ) * 2
    assert (rows[LEAD, "r2"].values["new_listed"], world.marketo.company_rows["lead:r2"]["listed"]) == ("true", "true")


@story
def test_a_key_that_another_tool_gives_to_a_company_empties_no_lead() -> None:
    """R42, R63: what its person shows from then on is not the lead's; it gets a company of its own with what the lead holds."""
    world, (person,) = a_world()
    fault = RequestRefused("no", system="marketo", request="POST", code="1001")
    # So that both agree while there is no company of the lead's own.
    world.marketo.refuses = lambda key, values: fault if key.startswith("lead:") else None
    world.marketo.put(person, company="Acme", title="B")
    world.dynamics.put(LEAD, "r0", companyname="Acme")
    world.settled()
    assert (world.base(person, "company"), shown(world, person)[0]) == ("Acme", None)
    assert "lead:r0" not in world.marketo.company_rows
    world.marketo.refuses = lambda key, values: None
    world.marketo.put_company("other", company="Other")
    world.marketo.put(person, **{COMPANY_KEY: "other"})
    world.clock += timedelta(days=1)
    world.settled()
    assert (entered(world, "r0")[0], shown(world, person)[:2]) == ("Acme", ("lead:r0", "Acme"))
    assert collisions(world, person) == []
