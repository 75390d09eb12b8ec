"""Tasks, and records that get another owner (docs/protocols/dataverse.md#tasks)."""

from __future__ import annotations

import uuid

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, error


def test_a_task_belongs_to_its_record_is_made_once_by_id_and_goes_with_it(dataverse: Dataverse) -> None:
    lead_id = dataverse.http.post("leads", json={"lastname": "x"}).headers["OData-EntityId"][-37:-1]
    user_id = dataverse.http.get("WhoAmI").json()["UserId"]
    task = f"tasks({uuid.uuid4()})"
    body = {
        "subject": "Call", "prioritycode": 2, "scheduledend": "2026-01-06T07:08:09Z",
        "regardingobjectid_lead_task@odata.bind": f"/leads({lead_id})", "ownerid@odata.bind": f"/systemusers({user_id})",
    }  # fmt: skip
    once = {"If-None-Match": "*"}
    assert dataverse.http.patch(task, json=body, headers=once).status_code == 204
    assert error(dataverse.http.patch(task, json=body, headers=once)) == (412, "0x80040237")
    row = dataverse.row(task)
    assert (row["_regardingobjectid_value"], row["statecode"], row["statuscode"]) == (lead_id, 0, 2)
    assert (row["scheduledend"], row["_ownerid_value"]) == ("2026-01-06T07:08:09Z", user_id)
    gone = body | {"regardingobjectid_lead_task@odata.bind": f"/leads({uuid.uuid4()})"}
    assert error(dataverse.http.post("tasks", json=gone)) == (404, "0x80040217")
    assert error(dataverse.http.post("tasks", json=body | {"subject": "x" * 201})) == (400, "0x80044331")
    assert dataverse.http.delete(f"leads({lead_id})").status_code == 204
    assert error(dataverse.http.get(task)) == (404, "0x80040217")
