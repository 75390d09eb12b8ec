"""`dynsync undo`: shows what a cycle wrote and what of it is still ours, writes it with `--apply`, once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import FEW, HttpWorld

pytestmark = story


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    with HttpWorld(tmp_path_factory.mktemp("undo"), fields=FEW) as world:
        yield world


def test_a_cycle_is_shown_undone_and_undone_once(run: Run, world: HttpWorld) -> None:
    """Over HTTP, with an edit in Marketo that nobody has read when it is asked for; the next cycles write nothing."""
    ids = [world.create_record("contact", lastname=name, jobtitle="[bold]Buyer") for name in ("Ours", "Edited")]
    world.sync()
    ours, edited = (world.person_of("contact", each) for each in ids)
    for each in ids:
        world.edit_record("contact", each, jobtitle="O'Brien 🧯 " + "x" * 80)
    world.sync()
    ((cycle,),) = world.query("select max(cycle_id) from changes")
    environment = {**world.environment}
    shown = run("undo", str(cycle), environment=environment, width=80)
    assert (shown.code, max(map(len, shown.out.splitlines())) <= 80) == (0, True)
    assert "[bold]Buyer" in shown.out
    assert "Still ours: 2 values" in shown.out
    assert world.person(ours, "title")["title"].startswith("O'Brien")
    world.edit_person(edited, title="Later")
    applied = run("undo", str(cycle), "--apply", "--json", environment=environment)
    assert (applied.code, json.loads(applied.out)["n_undone"]) == (0, 1)
    assert world.person(ours, "title")["title"] == "[bold]Buyer"
    assert world.record("contact", ids[0])["jobtitle"].startswith("O'Brien")
    assert world.person(edited, "title")["title"] == "Later"
    world.marketo.forget()
    again = run("undo", str(cycle), "--apply", environment=environment)
    assert (again.code, "There is nothing to undo." in again.out) == (0, True)
    world.sync()
    assert world.marketo.writes == []
    assert world.record("contact", ids[1])["jobtitle"] == "Later"
    assert world.query("select count(*) from changes where rule_code = 'undo'") == [(1,)]
    assert world.query("select command, plan from operator_actions") == [
        ("undo --apply", json.dumps({"cycle_id": cycle, "field": None, "person_id": None, "n": 2}))
    ]
    assert run("undo", "999", environment=environment).code == 2
    mistyped = run("undo", str(cycle), "--field", "Title", environment=environment)
    assert mistyped.code == 2
    assert "it wrote title." in " ".join(mistyped.err.replace("│", " ").split())
