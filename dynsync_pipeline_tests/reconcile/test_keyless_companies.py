"""Company text on a lead's person behind a company to which Marketo gives no key, as forms leave it (R35, R42, R131)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.field_map import Collision, FieldMap, parse_field_map
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.qualifying.qualified import qualify
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

LEAD, CONTACT, ACCOUNT = RecordType.LEAD, RecordType.CONTACT, RecordType.ACCOUNT
FIELDS = parse_field_map(
    HEADER
    + "account,company,name,text,to_marketo,true\n"
    + "account,annualRevenue,revenue,decimal,to_marketo,true\n"
    + "account,billingCity,address1_city,text,to_marketo,true\n"
    + "lead,company,companyname,text,both,true\n"
    + "lead,annualRevenue,revenue,decimal,both,true\n"
    + "lead,title,jobtitle,text,both,true\n"
    + "contact,title,jobtitle,text,both,true\n",
    "test.csv",
)
SHOWN = (COMPANY_KEY, "company", "annualRevenue", "billingCity")


def shown(world: MemoryWorld, person: int) -> tuple[str | None, ...]:
    """What Marketo shows on a person of its company."""
    (row,) = world.marketo.people("id", [str(person)], SHOWN).to_pylist()
    return tuple(row[name] for name in SHOWN)


def entered(world: MemoryWorld, lead: str) -> tuple[str | None, ...]:
    """The company text of a lead in Dynamics."""
    values = world.dynamics.rows[LEAD, lead].values
    return values.get("companyname"), values.get("revenue")


def collisions(world: MemoryWorld, person: int) -> list[tuple[str | None, ...]]:
    """(field, base, Dynamics, Marketo, winner) of a person's."""
    return [row[3:8] for row in world.ledger()["collisions"] if row[1] == person]


def a_world(fields: FieldMap = FIELDS, *, n_leads: int = 1) -> tuple[MemoryWorld, list[int]]:
    """Leads r0, r1 … without company text, and their people, all synced."""
    world = MemoryWorld(fields)
    people = [world.link(LEAD, f"r{n}", title="A") for n in range(n_leads)]
    world.settled()
    return world, people


@story
def test_company_text_entered_on_a_leads_person_is_an_edit_of_the_lead_like_any_other() -> None:
    """R131, R35: on one side, on both to two values, on both alike. What the map has of accounts alone goes along."""
    world, (alone, both, alike, dynamics) = a_world(n_leads=4)
    world.marketo.put(alone, company="Acme", annualRevenue="5", billingCity="Bern", title="B")
    world.marketo.put(both, company="In Marketo", billingCity="Bern", title="B")
    world.dynamics.put(LEAD, "r1", companyname="In Dynamics", revenue="7")
    world.marketo.put(alike, company="Same", billingCity="Bern", title="B")
    world.dynamics.put(LEAD, "r2", companyname="Same")
    world.dynamics.put(LEAD, "r3", companyname="In Dynamics")
    assert world.settled() == 1
    assert [entered(world, f"r{n}") for n in range(4)] == [
        ("Acme", "5"), ("In Marketo", "7"), ("Same", None), ("In Dynamics", None)
    ]  # fmt: skip
    assert shown(world, alone) == ("lead:r0", "Acme", "5", "Bern")
    assert shown(world, both) == ("lead:r1", "In Marketo", "7", "Bern")
    assert shown(world, alike) == ("lead:r2", "Same", None, "Bern")
    assert shown(world, dynamics) == ("lead:r3", "In Dynamics", None, None)
    assert collisions(world, both) == [("company", None, "In Dynamics", "In Marketo", "marketo")]
    assert len(world.ledger()["collisions"]) == 1
    assert world.rows("select external_company_id from mirror.marketo_companies order by 1") == [
        (f"lead:r{n}",) for n in range(4)
    ], "a company that everybody left is kept in no mirror"


@story
def test_company_text_edited_alone_is_seen_within_a_day() -> None:
    """No feed is asked for it: it would tell an account's change once for each of its people."""
    world, (person,) = a_world()
    world.marketo.put(person, company="Acme")
    assert world.settled() == 0
    world.clock += timedelta(days=1)
    world.settled()
    assert (entered(world, "r0"), shown(world, person)[:2]) == (("Acme", None), ("lead:r0", "Acme"))
    world.clock += timedelta(days=1)
    assert world.settled() == 0


@story
def test_the_daily_look_waits_where_the_day_has_too_few_calls_for_it_and_nothing_else_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is put off and fails no cycle: the calls that are left are for what changed."""
    world, (person,) = a_world()
    world.marketo.put(person, company="Acme")
    world.settled()
    world.clock += timedelta(days=1)
    world.allow(marketo_calls_per_day=0)
    world.settled()
    assert entered(world, "r0") == (None, None)
    assert "of 1 leads takes 1 calls of Marketo, and 0 are left" in caplog.text
    world.allow(marketo_calls_per_day=50_000)
    world.settled()
    assert entered(world, "r0") == ("Acme", None)


@story
def test_at_a_first_meeting_company_text_of_a_leads_person_counts_like_any_other() -> None:
    """R42: found by the key, with or without text on either side."""
    world = MemoryWorld(FIELDS)
    people = [world.link(LEAD, f"r{n}", title="A") for n in range(3)]
    world.dynamics.put(LEAD, "r0", companyname="In Dynamics")
    world.marketo.put(people[0], company="In Marketo")
    world.marketo.put(people[1], company="In Marketo", billingCity="Bern")
    world.dynamics.put(LEAD, "r2", companyname="In Dynamics")
    world.marketo.put(people[2], billingCity="Bern")
    world.settled()
    assert [entered(world, f"r{n}")[0] for n in range(3)] == ["In Marketo", "In Marketo", "In Dynamics"]
    assert [shown(world, person) for person in people] == [
        ("lead:r0", "In Marketo", None, None),
        ("lead:r1", "In Marketo", None, "Bern"),
        ("lead:r2", "In Dynamics", None, "Bern"),
    ]
    assert collisions(world, people[0]) == [("company", None, "In Dynamics", "In Marketo", "marketo")]
    assert len(world.ledger()["collisions"]) == 1


@story
def test_a_record_that_is_entered_later_meets_the_text_of_the_person_who_waited_with_its_key() -> None:
    """R42, R16."""
    world = MemoryWorld(FIELDS)
    world.marketo.put(7, **{KEYS.lead_id: "late"}, company="In Marketo", title="A")
    world.settled()
    world.dynamics.put(LEAD, "late", jobtitle="A", companyname="In Dynamics")
    world.settled()
    assert (entered(world, "late")[0], shown(world, 7)[:2]) == ("In Marketo", ("lead:late", "In Marketo"))
    assert collisions(world, 7) == [("company", None, "In Dynamics", "In Marketo", "marketo")]


@story
def test_a_merge_that_leaves_a_person_without_company_empties_nothing() -> None:
    """R50: the winner's blank is nobody's edit; a text that it shows is the merge's."""
    world = MemoryWorld(FIELDS)
    losers = [world.link(LEAD, f"r{n}", title="A", company="Acme") for n in range(2)]
    world.settled()
    for winner, loser in zip((71, 72), losers, strict=True):
        world.marketo.put(winner, title="A")
        world.settled()
        world.marketo.put(winner, **{KEYS.lead_id: f"r{winner - 71}"}, company="Winner's" if winner == 72 else None)
        world.marketo.merge(winner, loser)
    world.settled()
    assert [entered(world, f"r{n}")[0] for n in range(2)] == ["Acme", "Winner's"]
    assert [shown(world, winner)[:2] for winner in (71, 72)] == [("lead:r0", "Acme"), ("lead:r1", "Winner's")]


@story
def test_a_lead_that_is_qualified_as_its_persons_text_is_edited_leaves_the_text_in_the_persons_log() -> None:
    """R22, R59: a contact's company is its account's; without one the person keeps what it shows."""
    world, people = a_world(n_leads=2)
    world.dynamics.put(ACCOUNT, "a", name="Account")
    world.settled()
    for n, person in enumerate(people):
        world.marketo.put(person, company="Entered", title="B")
        qualify(world, f"r{n}", f"c{n}")
    world.dynamics.put(CONTACT, "c0", _parentcustomerid_value="a")
    world.settled()
    assert [shown(world, person)[:2] for person in people] == [("a", "Account"), (None, "Entered")]
    told = "select person_id, field, old_value, new_value from ledger.activities where field = 'company'"
    assert world.rows(told) == [(people[0], "company", "Entered", "Account")]


@story
def test_a_key_that_marketo_refuses_on_the_person_holds_its_company_back_and_writes_nothing_again_and_again() -> None:
    """R12, R116."""
    world, (person,) = a_world()

    def refuses(key: str, values: dict[str, str | None]) -> RequestRefused | None:
        fault = RequestRefused("no", system="marketo", request="POST", code="1003", field=COMPANY_KEY)
        return fault if COMPANY_KEY in values else None

    world.marketo.refuses = refuses
    world.marketo.put(person, company="In Marketo", title="B")
    world.dynamics.put(LEAD, "r0", companyname="In Dynamics")
    world.settled()
    assert (entered(world, "r0")[0], shown(world, person)[:2]) == ("In Marketo", (None, "In Marketo"))
    world.dynamics.put(LEAD, "r0", companyname="Sales again")
    world.settled()
    world.marketo.refuses = lambda key, values: None
    world.clock += timedelta(days=1)
    world.settled()
    assert (entered(world, "r0")[0], shown(world, person)[:2]) == ("Sales again", ("lead:r0", "Sales again"))


MAP_WINS = replace(
    FIELDS,
    fields=tuple(
        replace(f, collision=Collision.DYNAMICS) if f.record_type is LEAD and f.marketo_field == "annualRevenue" else f
        for f in FIELDS.fields
    ),
)
KILLS = (
    range(12, 50) if is_deep() else (36, 39)
)  # once there is a plan; between company and person, and with the answer for the person lost


@story
def test_whatever_is_killed_what_is_entered_before_the_person_left_its_keyless_company_is_settled_by_the_rule() -> None:
    """R35, R131: it is Marketo's edit as long as it shows there; a collision is told once."""
    world = MemoryWorld(MAP_WINS)
    n_between = 0
    for cut_after in KILLS:
        names = [f"{name}-{cut_after}" for name in ("text", "none", "left")]
        people = [world.link(LEAD, name, title="A") for name in names]
        world.settled()
        for person in (people[0], people[2]):
            world.marketo.put(person, company="Marketo 1", annualRevenue="1", billingCity="Bern", title="B")
        for name in names:
            world.dynamics.put(LEAD, name, companyname="Dynamics 1", revenue="2")
        world.cycle(cut_after=cut_after)
        late = [person for person in people[:2] if shown(world, person)[0] is None]
        n_between += len(late) == 2 and f"lead:{names[0]}" in world.marketo.company_rows
        for person in late:
            world.marketo.put(person, company="Marketo 2", annualRevenue="3", title="C")
        world.settled()
        for name, person in zip(names, people, strict=True):
            key, company, revenue, city = shown(world, person)
            assert (key, entered(world, name)) == (f"lead:{name}", (company, revenue)), cut_after
            assert city == (None if person == people[1] else "Bern"), cut_after
            told = collisions(world, person)
            if person in late:
                assert company == "Marketo 2", cut_after
            elif person != people[1]:
                assert (company, revenue) == ("Marketo 1", "2"), cut_after
                assert len(told) == 2, (cut_after, told)
    assert n_between, "no kill fell between a company and its person"
