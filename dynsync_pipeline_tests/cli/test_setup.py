"""`dynsync setup`: what Marketo lacks is shown, made on request, and then used (R115)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld, let_pass

ACTIVITY_TYPE = "DynSync Sync Error"
OTHER_FIELDS = {"DYNSYNC_MARKETO_FIELD_LEAD_ID": "crmLeadId", "DYNSYNC_MARKETO_FIELD_IS_DELETED": "crmIsGone"}


@story
def test_fields_and_activity_type_are_made_and_a_refusal_then_stands_in_the_persons_own_log(
    run: Run, tmp_path: Path
) -> None:
    with HttpWorld(tmp_path / "world") as world:
        environment = world.environment | OTHER_FIELDS
        shown = run("setup", environment=environment)
        assert shown.code == 1
        assert "Field crmLeadId: missing, wanted as string." in shown.out
        assert "Field crmIsGone: missing, wanted as boolean." in shown.out
        assert "Activity type DynSync Sync Error: missing." in shown.out
        assert run("setup", environment=environment).out == shown.out, "nothing was made"
        assert told(world) == []
        made = run("setup", "--apply", environment=environment)
        assert made.code == 0, made.err
        assert "Fields of people: all there." in made.out
        names = [*sorted(OTHER_FIELDS.values()), ACTIVITY_TYPE]
        assert told(world) == [{"makes": names}, {"made": names}]
        (line,) = (word for word in made.out.split() if word.startswith("DYNSYNC_MARKETO_ACTIVITY_TYPE="))
        wrong = environment | {"DYNSYNC_MARKETO_FIELD_IS_DELETED": "email"}
        unfit = run("setup", "--apply", environment=wrong)
        assert unfit.code == 1
        assert "Field email: of the type email, which does not fit" in unfit.out
        assert len(told(world)) == 2, "where nothing can be made nothing is told"

        name, _, type_id = line.partition("=")
        world.environment |= OTHER_FIELDS | {name: type_id}
        contact_id = world.create_record("contact", lastname="O'Brien")
        world.sync()
        person_id = world.person_of("contact", contact_id)
        world.edit_person(person_id, title="Long " * 30)
        world.sync()
        since = world.answered(
            world.marketing.get(
                "/rest/v1/activities/pagingtoken.json", params={"sinceDatetime": "2020-01-01T00:00:00Z"}
            )
        )
        query = {"activityTypeIds": type_id, "leadIds": person_id, "nextPageToken": since["nextPageToken"]}
        (entry,) = world.answered(world.marketing.get("/rest/v1/activities.json", params=query))["result"]
        assert entry["primaryAttributeValue"] == "title"
        ((activity_id,),) = world.query("select activity_id from activities where activity_type = 'Sync Error'")
        assert {each["name"]: each["value"] for each in entry["attributes"]}["DynSync Entry"] == str(activity_id)
        assert world.query("select outcome_code from marketo_entries") == [("told",)]
        assert world.query("select command from operator_actions") == [("setup --apply",)] * 2


def told(world: HttpWorld) -> list[dict[str, Any]]:
    """What the next cycle will take into the ledger."""
    files = (world.data_dir / "operator_actions").glob("*.json")
    actions = sorted((json.loads(file.read_text()) for file in files), key=lambda each: str(each["acted_at"]))
    assert {each["command"] for each in actions} <= {"setup --apply"}
    return [each["plan"] for each in actions]


@story
def test_a_setup_that_is_refused_halfway_tells_what_was_made_and_one_that_is_killed_that_nobody_knows(
    tmp_path: Path,
) -> None:
    with HttpWorld(tmp_path / "world") as world, world.client(world.emulators.marketo_url, "none") as control:
        fault = {"method": "POST", "path": "activities/external/type", "status": 200, "code": "603", "times": 0}
        assert control.post("/emulator/faults", json=fault).status_code == 200
        names = [*sorted(OTHER_FIELDS.values()), ACTIVITY_TYPE]
        refused = world.dynsync("setup", "--apply", **OTHER_FIELDS)
        assert (refused.returncode, "Read-Write Activity Metadata" in refused.stderr) == (1, True), refused.stderr
        assert told(world) == [{"makes": names}, {"made": names[:-1]}]
        control.delete("/emulator/faults")

        process = world.start("setup", "--apply", **OTHER_FIELDS)

        def strike(request: str, is_applied: bool) -> bool:
            if is_applied and request.startswith("POST") and "activities/external/type" in request:
                os.kill(process.pid, signal.SIGKILL)
                return False
            return True

        world.marketo.on_request = strike
        assert process.wait(240) == -signal.SIGKILL
        world.marketo.on_request = let_pass
        assert told(world)[2:] == [{"makes": [ACTIVITY_TYPE]}], "and not what became of it"
        assert "Activity type DynSync Sync Error: not approved" in world.dynsync("setup", **OTHER_FIELDS).stdout
