"""`dynsync whatif`: past collisions and what differs now, decided again by other rules; held against an example made by hand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import WITH_COLLISION, MemoryWorld, field_map

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
LINES = ("title,jobtitle,text,both,true", "city,address1_city,text,both,true", "rating,new_rating,choice,both,true")


def written(path: Path, **rules: str) -> Path:
    """A field map with these rules, by field."""
    lines = "".join(
        f"{kind},{line},{rules.get(line.partition(',')[0], '')}\n" for kind in (CONTACT, LEAD) for line in LINES
    )
    path.write_text(f"{WITH_COLLISION}account,company,name,text,to_marketo,true,\n{lines}", "utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """A data folder after these cycles, made by hand: what each side says, and what came of it.

    A lead and a contact whose title, city and rating collide: by the original's rule Marketo's and Dynamics' value stand. Then
    the contact's title again, with Dynamics emptied. And a lead whose city Dynamics keeps otherwise, edited by nobody since.
    """
    world = MemoryWorld(field_map(*LINES))
    held = {"title": "A", "city": "A", "rating": "1"}
    people = {"lead": world.link(LEAD, "lead", **held), "contact": world.link(CONTACT, "contact", **held)}
    people["kept"] = world.link(LEAD, "kept", **held)
    world.settled()
    for kind, name in ((LEAD, "lead"), (CONTACT, "contact")):
        world.dynamics.put(kind, name, jobtitle="D", address1_city="=D", new_rating="2")
        world.marketo.put(people[name], title="M", city="M O'Brien", rating="Cold")
    world.settled()
    world.dynamics.put(CONTACT, "contact", jobtitle=None)
    world.marketo.put(people["contact"], title="M2")
    world.settled()
    with world.warehouse.reading() as connection:
        folder = tmp_path_factory.mktemp("whatif")
        name = connection.execute("select current_database()").fetchall()[0][0]
        connection.execute(f"attach '{folder / 'dynsync.duckdb'}' as copied")
        connection.execute(f'copy from database "{name}" to copied')
        connection.execute("detach copied")
    yield folder, people


def tried(run: Run, folder: Path, *arguments: str) -> list[tuple[object, ...]]:
    ran = run("whatif", *arguments, "--json", environment={"DYNSYNC_DATA_DIR": str(folder)})
    assert ran.code == 0, ran.err
    names = ("person_id_marketo", "field", "dynamics_value", "marketo_value", "outcome", "outcome_then", "rule_code")
    return [tuple(row[name] for name in names) for row in json.loads(ran.out)]


def test_each_past_collision_that_would_come_out_otherwise_is_told_and_no_other(
    run: Run, folder: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    data, people = folder
    lead, contact = people["lead"], people["contact"]
    same = written(tmp_path / "same.csv")
    assert tried(run, data, "--field-map", str(same)) == []
    by_dynamics = written(tmp_path / "d.csv", title="dynamics", city="marketo")
    assert sorted(tried(run, data, "--field-map", str(by_dynamics))) == [
        (lead, "title", "D", "M", "marketo_wins", "dynamics_wins", "map_dynamics_wins"),
        (contact, "city", "=D", "M O'Brien", "dynamics_wins", "marketo_wins", "map_marketo_wins"),
    ]
    others = written(tmp_path / "o.csv", title="never_clear", rating="review")
    assert sorted(tried(run, data, "--field-map", str(others)), key=str) == [
        (lead, "rating", "Warm", "Cold", "marketo_wins", "review", "in_review"),
        (contact, "rating", "Warm", "Cold", "dynamics_wins", "review", "in_review"),
        (contact, "title", None, "M2", "dynamics_wins", "marketo_wins", "value_over_clear"),
    ]
    assert tried(run, data, "--field-map", str(others), "--since", "2999-01-01") == []


def test_what_differs_now_is_decided_again_too_and_nothing_is_changed(
    run: Run, folder: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    """A review that waits would be decided; what a cycle had planned and not written would go elsewhere."""
    data, people = folder
    with Warehouse(data / "dynsync.duckdb") as warehouse, warehouse.transaction() as connection:
        connection.execute("update mirror.marketo_people set title = 'M' where person_id = ?", [people["kept"]])
        connection.execute("update mirror.dynamics_leads set jobtitle = 'D' where leadid = 'kept'")
        connection.execute(
            "insert into state.standing_differences values (?, 'title', 'D', 'M', 'in_review', now()::timestamp)",
            [people["kept"]],
        )
        connection.execute("update reconcile.fields set collision = 'review' where field = 'title'")
    before = (data / "dynsync.duckdb").read_bytes()
    found = tried(run, data, "--field-map", str(written(tmp_path / "m.csv", title="dynamics")), "--since", "2999-01-01")
    assert found == [(people["kept"], "title", "D", "M", "review", "dynamics_wins", "map_dynamics_wins")]
    assert (data / "dynsync.duckdb").read_bytes() == before


def test_it_is_told_by_field_and_person_on_80_columns_and_as_csv(
    run: Run, folder: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    data, people = folder
    environment = {"DYNSYNC_DATA_DIR": str(data)}
    new = str(written(tmp_path / "new.csv", city="marketo"))
    shown = run("whatif", "--field-map", new, environment=environment, width=80)
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert f"{people['contact']}" in shown.out
    assert "marketo wins" in shown.out
    rows = list(
        csv.DictReader(io.StringIO(run("whatif", "--field-map", new, "--csv", "-", environment=environment).out))
    )
    assert [(row["field"], row["dynamics_value"]) for row in rows if row["collision_id"]] == [("city", "'=D")]
    assert run("whatif", "--field-map", str(tmp_path / "none.csv"), environment=environment).code == 2
    assert run("whatif", "--field-map", new, environment={"DYNSYNC_DATA_DIR": str(tmp_path)}).code == 1
