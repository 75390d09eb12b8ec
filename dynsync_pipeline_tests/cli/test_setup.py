"""`dynsync setup`: what Marketo lacks is shown, made on request, and then used (R115)."""

from __future__ import annotations

from pathlib import Path

from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

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
        made = run("setup", "--apply", environment=environment)
        assert made.code == 0, made.err
        assert "Fields of people: all there." in made.out
        (line,) = (word for word in made.out.split() if word.startswith("DYNSYNC_MARKETO_ACTIVITY_TYPE="))
        wrong = environment | {"DYNSYNC_MARKETO_FIELD_IS_DELETED": "email"}
        told = run("setup", "--apply", environment=wrong)
        assert told.code == 1
        assert "Field email: of the type email, which does not fit" in told.out

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
