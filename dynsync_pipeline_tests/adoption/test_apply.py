"""Applying an adoption: cut and repeated, refused where it contradicts what is there, and what later cycles make of it."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.emulators.dataverse import seeding as dataverse_seeding
from dynsync_pipeline.emulators.faults import Fault
from dynsync_pipeline.emulators.marketo import seeding as marketo_seeding
from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.adoption import Decision, Reviewed, keep_decisions
from dynsync_pipeline.write_back.adoption import write_keys
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld, let_pass
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

MakeWorld = Callable[..., HttpWorld]
N_LINKS = 310  # more than one batch


def adopting(world: HttpWorld) -> HttpWorld:
    world.environment["DYNSYNC_FIRST_LOAD"] = "adopt"
    return world


def proposal_of(world: HttpWorld, name: str = "adoption.csv") -> Path:
    path = world.data_dir / name
    ended = world.dynsync("adopt", "--out", str(path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "personal data" in ended.stdout
    return path


def lines_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {line["dynamics_id"]: line for line in csv.DictReader(file)}


def review(path: Path, lines: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def applied(world: HttpWorld, path: Path) -> dict[str, Any]:
    ended = world.dynsync("adopt", "--apply", str(path), "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return dict(json.loads(ended.stdout))


def cut_connection(world: HttpWorld, path: Path) -> None:
    """Marketo applies the second batch, and the network breaks before it has answered."""
    fault = Fault(method="POST", path=r"/rest/v1/leads\.json", body="updateOnly", skip=1, cut="after")
    world.emulators.marketo_faults.add(fault)
    ended = world.dynsync("adopt", "--apply", str(path))
    assert ended.returncode == 1
    assert "Run the same command again to go on" in ended.stderr


def kill(world: HttpWorld, path: Path) -> None:
    """The process dies when Marketo has applied the second batch and not answered."""
    process = world.start("adopt", "--apply", str(path))
    seen: list[str] = []

    def strike(request: str, is_applied: bool) -> bool:
        if request == "POST /rest/v1/leads.json" and is_applied:
            seen.append(request)
            if len(seen) == 2:
                os.kill(process.pid, signal.SIGKILL)
                return False
        return True

    world.marketo.on_request = strike
    try:
        process.communicate(timeout=240)
    finally:
        world.marketo.on_request = let_pass
    assert (process.returncode, len(seen)) == (-signal.SIGKILL, 2)


@pytest.mark.parametrize("cut", [cut_connection, kill])
def test_a_cut_in_the_middle_is_repeated_and_nothing_is_written_or_made_twice(
    make_world: MakeWorld, cut: Callable[[HttpWorld, Path], None]
) -> None:
    """Also when an ordinary cycle comes in between: whoever is to be linked is never created."""
    world = adopting(make_world())
    addresses = [f"person.{place}@example.com" for place in range(N_LINKS)]
    marketo_seeding.seed(world.emulators.marketo, [{"lastName": "P", "email": address} for address in addresses])
    records = [
        {"contactid": f"{place:08x}-0000-4000-8000-000000000001", "lastname": "P", "emailaddress1": address}
        for place, address in enumerate(addresses)
    ]
    dataverse_seeding.seed(world.emulators.dataverse, [], records, [])
    path = proposal_of(world)
    world.marketo.forget()
    cut(world, path)
    world.sync()
    figures = applied(world, path)
    world.sync()
    assert world.query("select count(*), count(distinct contact_id_dynamics) from people") == [(N_LINKS, N_LINKS)]
    assert figures["n_written"] + figures["n_before"] + figures["n_linked"] == N_LINKS
    keys = Counter(write.value for write in world.marketo.writes if write.field == "dynamicsContactId")
    assert set(keys) == {record["contactid"] for record in records}
    assert set(keys.values()) == {1}
    with world.writes_nothing():
        world.sync()


def test_the_first_cycle_waits_for_an_adoption_and_later_ones_keep_to_it(make_world: MakeWorld) -> None:
    world = adopting(make_world())
    match = world.create_person(lastName="Match", email="match@example.com")
    for _ in range(2):
        world.create_person(lastName="Double", email="double@example.com")
    matched = world.create_record("contact", lastname="Match", emailaddress1="match@example.com")
    double = world.create_record("contact", lastname="Double", emailaddress1="double@example.com")
    lonely = world.create_record("lead", lastname="Lonely", emailaddress1="lonely@example.com")

    def refused(because: str) -> None:
        with world.writes_nothing():
            ended = world.dynsync("sync")
        assert ended.returncode == 4, ended.stderr
        assert because in ended.stderr
        assert "dynsync adopt" in ended.stderr

    refused("Nobody has decided yet what becomes of 3 contacts and leads")
    path = proposal_of(world)
    refused("Nobody has decided yet what becomes of 3 contacts and leads")  # looking alone decides nothing
    lines = lines_of(path)
    assert {key: line["decision"] for key, line in lines.items()} == {matched: "link", double: "skip", lonely: "create"}
    review(path, [line for key, line in lines.items() if key != lonely])
    assert applied(world, path)["n_undecided"] == 1
    refused("Nobody has decided yet what becomes of 1 contacts and leads")

    rest = proposal_of(world, "rest.csv")
    assert {key: (line["decision"], line["reason"][:14]) for key, line in lines_of(rest).items()} == {
        double: ("skip", "decided before"),
        lonely: ("create", "nobody in Mark"),
    }
    assert applied(world, rest)["n_undecided"] == 0
    world.sync()
    assert world.person_of("contact", matched) == match
    world.person_of("lead", lonely)
    assert world.people("dynamicsContactId", double) == []

    # Skipped means skipped, whoever edits the record; what Sales enters from now on is new business.
    world.edit_record("contact", double, jobtitle="Edited")
    new = world.create_record("contact", lastname="New", emailaddress1="double@example.com")
    world.sync()
    assert world.people("dynamicsContactId", double) == []
    world.person_of("contact", new)

    again = proposal_of(world, "again.csv")
    (line,) = lines_of(again).values()
    review(again, [line | {"decision": "create"}])
    applied(world, again)
    world.sync()
    world.person_of("contact", double)

    # An adopted person is a person like any other: deleted in Marketo, it comes back when its record is edited (R81).
    world.answered(world.marketing.post("/rest/v1/leads/delete.json", json={"input": [{"id": match}]}))
    world.sync()
    world.edit_record("contact", matched, jobtitle="Edited")
    world.sync()
    assert world.person_of("contact", matched) != match
    with world.writes_nothing():
        world.sync()


def test_what_contradicts_the_systems_is_told_line_by_line_and_nothing_is_written(make_world: MakeWorld) -> None:
    world = make_world()
    linked = world.create_record("contact", lastname="Linked")
    world.sync()
    bearer_of_link = world.person_of("contact", linked)
    free, other, borne = (world.create_record("lead", lastname=name) for name in ("Free", "Other", "Borne"))
    free_person = world.create_person(lastName="Free")
    stale = world.create_person(lastName="Stale", dynamicsContactId="0000000a-0000-4000-8000-00000000000a")
    bearer = world.create_person(lastName="Bearer", dynamicsLeadId=borne.upper())
    unknown = "0000000b-0000-4000-8000-00000000000b"
    rows = [
        ("contact", unknown, "create", "", f"Dynamics has no contact {unknown}"),
        ("contact", free, "create", "", f"Dynamics has no contact {free}"),
        ("lead", free, "link", free_person, None),
        ("lead", free, "skip", "", "the record stands in line 4 too"),
        ("lead", other, "link", free_person, f"person {free_person} stands in line 4 too"),
        ("contact", linked, "link", stale, f"the record is linked with person {bearer_of_link} already"),
        ("contact", linked, "skip", "", "which skip does not undo"),
        ("lead", borne, "create", "", f"person {bearer} holds the record's id already"),
    ]
    others = [
        ("lead", free, "link", 999_999, "Marketo has no person 999999"),
        ("lead", other, "link", stale, f"person {stale} holds the id of another record already"),
        ("lead", borne, "link", bearer_of_link, f"is linked with contact {linked} already"),
    ]
    for lines in (rows, others):
        path = world.folder / "reviewed.csv"
        text = "\n".join(",".join(map(str, line[:4])) for line in lines)
        path.write_text(f"record_type,dynamics_id,decision,person_id\n{text}\n", "utf-8")
        with world.writes_nothing():
            ended = world.dynsync("adopt", "--apply", str(path))
        assert ended.returncode == 2, ended.stderr
        told = ended.stderr
        for number, line in enumerate(lines, start=2):
            if line[4] is not None:
                assert f"line {number}: " in told
                assert str(line[4]) in told
        assert "nothing was written" in told
        assert ("line 4:" in told) == (lines is others)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--id-field", "noSuchField"), "Marketo has no field noSuchField"),
        (("--apply", "none.csv"), "none.csv cannot be read: No such file"),
        (("--apply", "none.csv", "--out", "other.csv"), "--engine and --master are for the proposal"),
    ],
)
def test_wrong_options_are_one_sentence(shared_world: HttpWorld, arguments: tuple[str, ...], sentence: str) -> None:
    ended = shared_world.dynsync("adopt", *arguments)
    assert ended.returncode == 2
    assert sentence in " ".join(ended.stderr.replace("│", " ").split())


def test_a_person_who_cannot_take_the_key_any_more_is_told_and_the_others_get_theirs() -> None:
    """Between the review and the write people are deleted, get another key, or are refused by Marketo."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    decided = []
    for place, name in enumerate(("fine", "there", "gone", "other", "refused")):
        world.dynamics.put(RecordType.LEAD, name, jobtitle="A")
        world.marketo.put(1001 + place, title="A")
        decided.append(Reviewed(place, "lead", name, 1001 + place, Decision.LINK))
    with world.opened() as cycle:
        read_all(cycle)
    with world.warehouse.transaction() as connection:
        keep_decisions(connection, decided, datetime(2026, 1, 1))  # noqa: DTZ001
    world.marketo.put(1002, **{KEYS.lead_id: "THERE"})
    world.marketo.delete(1003)
    world.marketo.put(1004, **{KEYS.contact_id: "another"})
    refusal = RequestRefused("No.", system="marketo", request="POST", code="1003")
    world.marketo.refuses = lambda key, values: refusal if key == "1005" else None
    world.marketo.writes.clear()
    found = write_keys(world.warehouse, world.marketo, world.columns, lambda n, n_all: None)
    assert (found.n_written, found.n_before) == (1, 1)
    assert [(refused.person_id, refused.reason) for refused in found.refusals] == [
        (1003, "Marketo has no such person any more."),
        (1004, "The person holds the id of another record."),
        (1005, "1003: No."),
    ]
    assert [(person_id, values[KEYS.lead_id]) for person_id, values in world.marketo.writes] == [(1001, "fine")]
    world.settled()
    assert world.rows("select person_id, dynamics_id from state.links order by 1") == [(1001, "fine"), (1002, "there")]
    assert len([row for row in world.marketo.rows.values() if not row.is_deleted]) == 4, "nobody is created"
