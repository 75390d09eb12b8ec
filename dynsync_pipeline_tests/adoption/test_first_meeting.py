"""Adoption as a whole: 2,000 people in a Marketo that knows nothing of DynSync, proposed, reviewed, applied, synced twice.

Over HTTP, by the command line, and by SQL on the snapshot. Not here: faults of the file, cuts, guards.
"""

from __future__ import annotations

import csv
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import LOOKUP_FIELDS, HttpWorld

pytestmark = story

N_PEOPLE = 2_000
ID_FIELD = "crmId"
# Title in Dynamics and in Marketo at the first meeting, and what both hold afterwards, by record type (R42, R35).
TITLES: tuple[tuple[str | None, str | None, dict[str, str | None]], ...] = (
    ("Dynamics", None, {"contact": "Dynamics", "lead": "Dynamics"}),
    (None, "Marketo", {"contact": "Marketo", "lead": "Marketo"}),
    ("Dynamics", "Marketo", {"contact": "Dynamics", "lead": "Marketo"}),
    ("Same", "Same", {"contact": "Same", "lead": "Same"}),
    (None, None, {"contact": None, "lead": None}),
)


@dataclass
class Population:
    """What is seeded into both systems, and what must become of it; person ids are those that seeding gives out."""

    people: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"contact": [], "lead": []})
    linked: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # record -> type, person, its place in TITLES
    by_id: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=count)

    def add_person(self, **values: Any) -> int:
        self.people.append({"lastName": f"Person {len(self.people)}", **values})
        return len(self.people)

    def add_record(self, record_type: str, **values: Any) -> str:
        record_id = str(uuid.UUID(int=(next(self.numbers) + 0xA << 96) + 0xBC))
        self.records[record_type].append(
            {f"{record_type}id": record_id, "lastname": "Record", "emailaddress1": None, "jobtitle": None, **values}
        )
        return record_id

    def add_pair(self, record_type: str, place: int, *, record_email: str | None, **person: Any) -> str:
        in_dynamics, in_marketo, _ = TITLES[place % len(TITLES)]
        record_id = self.add_record(record_type, emailaddress1=record_email, jobtitle=in_dynamics)
        if person.get(ID_FIELD) == "its id":
            person[ID_FIELD] = f" {{{record_id.upper()}}} "
            self.by_id.add(record_id)
        person_id = self.add_person(title=in_marketo, **person)
        self.linked[record_id] = record_type, person_id, place % len(TITLES)
        return record_id


def populated() -> Population:
    made = Population()
    for place in range(1_000):
        address = f"match.{place}@example.com"
        made.add_pair(
            "contact" if place % 2 else "lead", place, record_email=f" {address.upper()} ", email=address, crmId=None
        )
    for place in range(300):
        # The id counts, whatever the addresses say.
        made.add_pair(
            "lead" if place % 3 else "contact",
            place,
            record_email=f"work.{place}@example.com",
            email=f"private.{place}@example.com",
            crmId="its id",
        )
    for place in range(50):
        made.add_person(email=f"shared.{place}@example.com")
        made.add_person(email=f"Shared.{place}@example.com")
        made.unclear.add(made.add_record("contact", emailaddress1=f"shared.{place}@example.com"))
    for place in range(50):
        made.add_person(email=f"both.{place}@example.com")
        made.unclear.add(made.add_record("contact", emailaddress1=f"both.{place}@example.com"))
        made.unclear.add(made.add_record("lead", emailaddress1=f"BOTH.{place}@example.com"))
    for place in range(200):
        made.alone.add(made.add_record("lead", emailaddress1=f"alone.{place}@example.com"))
    for _ in range(20):
        made.alone.add(made.add_record("contact"))
    # Two records with one address that nobody in Marketo has are two people (R17).
    made.alone.add(made.add_record("contact", emailaddress1="twice@example.com"))
    made.alone.add(made.add_record("lead", emailaddress1="twice@example.com"))
    while len(made.people) < N_PEOPLE:
        made.add_person(email=f"only.marketo.{len(made.people)}@example.com", crmId=str(uuid.uuid4()))
    return made


@dataclass
class Adopted:
    """The world after everything, with what was seen on the way."""

    world: HttpWorld
    made: Population
    proposal: dict[str, dict[str, str]]
    proposed: dict[str, Any]
    applied: dict[str, Any]
    first: dict[str, Any]
    second: dict[str, Any]


def create_id_field(world: HttpWorld) -> None:
    definition = {"name": ID_FIELD, "displayName": "CRM id", "dataType": "string"}
    world.answered(world.marketing.post("/rest/v1/leads/schema/fields.json", json={"input": [definition]}))


def printed(world: HttpWorld, *arguments: str, expected: int = 0) -> dict[str, Any]:
    ended = world.dynsync(*arguments, "--json", DYNSYNC_FIRST_LOAD="adopt")
    assert ended.returncode == expected, ended.stdout + ended.stderr
    return dict(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    made = populated()
    with HttpWorld(tmp_path_factory.mktemp("adoption")) as world:
        create_id_field(world)
        marketo_seeding.seed(world.emulators.marketo, made.people)
        dataverse_seeding.seed(world.emulators.dataverse, [], made.records["contact"], made.records["lead"])
        with world.writes_nothing():
            proposed = printed(world, "adopt", "--id-field", ID_FIELD.upper())
        file = Path(proposed["file"])
        with file.open(encoding="utf-8-sig", newline="") as rows:
            proposal = {row["dynamics_id"]: row for row in csv.DictReader(rows)}
        applied = printed(world, "adopt", "--apply", str(file))
        world.environment["DYNSYNC_FIRST_LOAD"] = "adopt"
        first = world.sync()
        second = world.sync()
        yield Adopted(world, made, proposal, proposed, applied, first, second)


def test_matches_are_proposed_as_links_and_the_rest_is_listed_with_its_reason(adopted: Adopted) -> None:
    made = adopted.made
    everything = {*made.linked, *made.unclear, *made.alone}
    assert adopted.proposal.keys() == everything
    for record_id, (record_type, person_id, _) in made.linked.items():
        row = adopted.proposal[record_id]
        found = (row["decision"], row["record_type"], row["person_id"], row["match"], row["reason"])
        match = f"id in {ID_FIELD}" if record_id in made.by_id else "e-mail address"
        assert found == ("link", record_type, str(person_id), match, "")
    for record_id in made.unclear:
        row = adopted.proposal[record_id]
        assert (row["decision"], row["person_id"], row["match"]) == ("skip", "", "unclear")
        assert "several" in row["reason"]
    for record_id in made.alone:
        row = adopted.proposal[record_id]
        assert (row["decision"], row["person_id"], row["match"]) == ("create", "", "none")
        assert "e-mail address" in row["reason"]
    assert [row["match"] for row in adopted.proposal.values()][: len(made.unclear)] == ["unclear"] * len(made.unclear)


def test_the_figures_tell_all_of_it(adopted: Adopted) -> None:
    made = adopted.made
    figures = {
        "n_link": len(made.linked),
        "n_create": len(made.alone),
        "n_skip": len(made.unclear),
        "n_unclear": len(made.unclear),
        "n_people_left": N_PEOPLE - len(made.linked),
    }
    assert {name: adopted.proposed[name] for name in figures} == figures
    assert (adopted.applied["n_written"], adopted.applied["refusals"]) == (len(made.linked), [])
    assert adopted.applied["n_undecided"] == 0


def test_the_file_is_for_its_owner_alone(adopted: Adopted) -> None:
    assert Path(adopted.proposed["file"]).stat().st_mode & 0o777 == 0o600


def test_every_chosen_person_bears_the_key_and_no_record_has_two_people(adopted: Adopted) -> None:
    world, made = adopted.world, adopted.made
    rows = world.query(
        "select person_id_marketo, record_type, coalesce(contact_id_dynamics, lead_id_dynamics) from people "
        "where record_type is not null"
    )
    linked = {record_id: (record_type, person_id) for person_id, record_type, record_id in rows}
    assert len(linked) == len(rows) == len(made.linked) + len(made.alone)
    assert {record_id: linked[record_id] for record_id in made.linked} == {
        record_id: (record_type, person_id) for record_id, (record_type, person_id, _) in made.linked.items()
    }
    with world.emulators.marketo.lock:
        borne = world.emulators.marketo.db.execute(
            "select dynamicsType, dynamicsContactId, dynamicsLeadId from people "
            "where dynamicsContactId is not null or dynamicsLeadId is not null"
        ).fetchall()
    assert Counter(contact_id or lead_id for _, contact_id, lead_id in borne) == Counter(linked.keys())
    assert all(kind == ("Contact" if contact_id else "Lead") for kind, contact_id, _ in borne)


def test_nobody_is_made_twice_and_nobody_for_a_record_that_was_skipped(adopted: Adopted) -> None:
    world, made = adopted.world, adopted.made
    assert adopted.first["to_marketo"]["n_created"] == len(made.alone)
    assert world.query("select count(*) from people") == [(N_PEOPLE + len(made.alone),)]
    for record_id in list(made.unclear)[:3]:
        assert [world.people(key, record_id) for key in LOOKUP_FIELDS.values()] == [[], []]


def test_blanks_are_filled_never_cleared_and_collisions_end_by_type(adopted: Adopted) -> None:
    world, made = adopted.world, adopted.made
    titles = dict(world.query("select contactid, jobtitle from contacts union all select leadid, jobtitle from leads"))
    people = dict(world.query("select person_id_marketo, title from people"))
    for record_id, (record_type, person_id, place) in made.linked.items():
        expected = TITLES[place][2][record_type]
        assert (titles[record_id], people[person_id]) == (expected, expected)
    assert world.query("select count(*) from changes where new_value is null and rule not like 'R15%'") == [(0,)]


def test_every_collision_says_that_there_was_no_base(adopted: Adopted) -> None:
    world, made = adopted.world, adopted.made
    n_both_filled = Counter(kind for kind, _, place in made.linked.values() if place == 2)
    rows = world.query("select record_type, winner, rule, count(*) from collisions where field = 'title' group by all")
    assert sorted(rows) == [
        ("contact", "dynamics", "R42 no base, R35 contact: Dynamics wins", n_both_filled["contact"]),
        ("lead", "marketo", "R42 no base, R35 lead: Marketo wins", n_both_filled["lead"]),
    ]


def test_the_second_sync_writes_nothing(adopted: Adopted) -> None:
    operations = ("n_companies", "n_creates", "n_updates_to_marketo", "n_updates_to_dynamics", "n_collisions")
    assert [adopted.second["plan"][name] for name in operations] == [0] * len(operations)
    with adopted.world.writes_nothing():
        adopted.world.sync()


def test_applying_the_file_again_after_the_syncs_changes_nothing(adopted: Adopted) -> None:
    with adopted.world.writes_nothing():
        applied = printed(adopted.world, "adopt", "--apply", adopted.proposed["file"])
        adopted.world.sync()
    assert applied["n_written"] == 0
    assert applied["n_linked"] == len(adopted.made.linked) + len(adopted.made.alone)
