"""Requests come in by a webhook, by a command and by static lists, and are served in real time, over HTTP (R71 to R77)."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from datetime import datetime
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dynsync_pipeline.defs.requests import build_request_sensor
from dynsync_pipeline.requests.listener import Server, listener
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.cycle_lock import CycleLock, read_cycle_lock
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.http import settings_from

TOKEN, NEXT_TOKEN = "t" * 24, "n" * 24
# On a busy machine it may take longer than Marketo's patience until somebody is served.
PATIENT = """
import sys
from dynsync_pipeline.cli import main
from dynsync_pipeline.requests import listener
listener.LONGEST_WAIT_S = 200.0
sys.argv[0] = "dynsync"
main()
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    with CoreWorld(tmp_path_factory.mktemp("world"), n_leads=1) as world:
        yield world


@pytest.fixture(scope="module")
def webhook(world: CoreWorld) -> Iterator[httpx.Client]:
    """The door, as Marketo reaches it, in a process of its own that ends by Ctrl-C; it waits longer than Marketo does."""
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT, "listen", "--port", "0"],
        env=world.environment_with(DYNSYNC_LISTEN_TOKENS=f"{TOKEN}, {NEXT_TOKEN}"),
        cwd=world.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line
    with httpx.Client(base_url=found[0], headers={"X-DynSync-Token": TOKEN}, timeout=240, trust_env=False) as client:
        yield client
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert "@" not in errors and TOKEN not in errors


def call(webhook: httpx.Client, person_id: int, record_type: str = "lead", **more: str) -> dict[str, Any]:
    """What Marketo's flow step sends, and maps from the answer."""
    answer = webhook.post("/requests", json={"person_id": str(person_id), "as": record_type, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def end_of_last_cycle(world: CoreWorld) -> datetime | None:
    """When the pause of the sensor began."""
    last = read_cycle_lock(settings_from(world.environment).lock_file)
    return None if last is None else last.ended_at


@story
def test_a_person_is_a_record_when_the_webhook_is_answered(world: CoreWorld, webhook: httpx.Client) -> None:
    person_id = world.create_person(
        firstName="Zoë", lastName="O'Brien 😀", email="zoe@example.com", company="Acme & Söhne"
    )
    before = end_of_last_cycle(world)
    told = call(webhook, person_id)
    assert (told["result"], told["message"]) == ("created", "")
    lead = world.record("lead", told["dynamicsId"])
    assert (lead["firstname"], lead["lastname"], lead["companyname"]) == ("Zoë", "O'Brien 😀", "Acme & Söhne")
    assert end_of_last_cycle(world) == before
    world.settle()
    assert world.values(person_id, "dynamicsLeadId", "dynamicsType") == (told["dynamicsId"], "Lead")
    assert world.values(person_id, "externalCompanyId", "company") == (f"lead:{told['dynamicsId']}", "Acme & Söhne")
    assert world.person_of("lead", told["dynamicsId"]) == person_id
    assert world.query("select outcome_code from requests where person_id_marketo = ?", person_id) == [("created",)]


def test_twenty_calls_at_once_for_one_person_make_one_record(world: CoreWorld, webhook: httpx.Client) -> None:
    person_id = world.create_person(lastName="Once")
    with ThreadPoolExecutor(20) as callers:
        told = list(callers.map(lambda n: call(webhook, person_id, ["lead", "contact"][n % 2]), range(20)))
    results = [each["result"] for each in told]
    assert sorted(results) == ["already_in_sync"] * 19 + ["created"]
    made = [record for kind in ("lead", "contact") for record in world.records(kind)]
    assert sum(each["dynamicsId"] in str(made) for each in told if each["dynamicsId"]) == 1


def test_what_dynamics_requires_is_named_to_the_marketer(world: CoreWorld, webhook: httpx.Client) -> None:
    told = call(webhook, world.create_person(firstName="Nameless"), "contact")
    assert told["result"] == "required"
    assert told["message"].startswith("lastName is empty")


def test_a_rule_against_duplicates_is_respected(world: CoreWorld, webhook: httpx.Client) -> None:
    world.create_record("contact", lastname="First", emailaddress1="same@example.com")
    told = call(webhook, world.create_person(lastName="Second", email="SAME@example.com"), "contact")
    assert (told["result"], told["dynamicsId"]) == ("refused", "")
    assert "duplicate" in told["message"] and "@" not in told["message"]


def test_an_owner_is_found_by_name(world: CoreWorld, webhook: httpx.Client) -> None:
    users = world.sales.get("/api/data/v9.2/systemusers", params={"$select": "fullname,systemuserid"}).json()["value"]
    user = next(each for each in users if " " in each["fullname"])
    told = call(webhook, world.create_person(lastName="Owned"), "lead", owner=user["fullname"])
    assert world.record("lead", told["dynamicsId"])["_ownerid_value"] == user["systemuserid"]
    assert call(webhook, world.create_person(lastName="Orphan"), owner="O'Nobody")["result"] == "owner_unknown"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"X-DynSync-Token": "wrong"}, b'{"person_id": 1, "as": "lead"}', 401),
        ({"X-DynSync-Token": TOKEN + NEXT_TOKEN}, b'{"person_id": 1, "as": "lead"}', 401),
        ({"X-DynSync-Token": NEXT_TOKEN}, b'{"person_id": 999999, "as": "lead"}', 200),
        ({}, b"x" * 1_000_000, 413),
        ({}, b"{", 400),
        ({}, b"[" * 5_000, 400),
        ({}, b'{"person_id": "one", "as": "lead"}', 400),
        ({}, b'{"person_id": -1, "as": "lead"}', 400),
        ({}, b'{"person_id": 99999999999999999999, "as": "lead"}', 400),
        ({}, b'{"person_id": 1, "as": "account"}', 400),
        ({}, b'{"person_id": 1}', 400),
        ({}, b'{"person_id": 1, "as": "lead", "owner": "' + b"x" * 300 + b'"}', 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"person_id=999999&as=contact", 200),
        ({"content-type": "application/x-www-form-urlencoded"}, b'{"person_id": 999999, "as": "lead"}', 200),
        ({"content-type": "application/x-www-form-urlencoded"}, b"\xff=1", 400),
    ],
)
def test_a_call_that_cannot_be_kept_is_told_why(
    webhook: httpx.Client, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = webhook.post("/requests", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert {*answer.json()} == {"result", "dynamicsId", "message"}


@story
def test_a_record_gets_another_owner_and_a_task_in_real_time(world: CoreWorld, webhook: httpx.Client) -> None:
    """Whoever is no record yet becomes one first; the same by command, for whom an unknown owner is a refusal (R78)."""
    users = world.sales.get("/api/data/v9.2/systemusers", params={"$select": "fullname,systemuserid"}).json()["value"]
    user = next(each for each in users if " " in each["fullname"])
    person_id = world.create_person(lastName="Handed over")
    body = {"person_id": f"{person_id}", "owner": user["fullname"], "as": "contact"}
    told = webhook.post("/owners", data=body).json()
    assert (told["result"], told["dynamicsId"]) == ("assigned", "")
    contact_id = str(world.values(person_id, "dynamicsContactId")[0])
    assert world.record("contact", contact_id)["_ownerid_value"] == user["systemuserid"]
    body = {"person_id": f"{person_id}", "subject": "Call Zoë", "due_in_days": "2", "priority": "", "owner": ""}
    told = webhook.post("/tasks", json=body).json()
    assert told["result"] == "created", told
    ran = world.dynsync("task", "--person", str(person_id), "--subject", "Write", "--description", "soon", "--json")
    (by_command,) = json.loads(ran.stdout)
    tasks = world.sales.get("/api/data/v9.2/tasks").json()["value"]
    assert {each["activityid"]: each["subject"] for each in tasks} == {
        told["dynamicsId"]: "Call Zoë", by_command["dynamics_id"]: "Write",
    }  # fmt: skip
    assert {each["_regardingobjectid_value"] for each in tasks} == {contact_id}
    assert {each["_ownerid_value"] for each in tasks} == {user["systemuserid"]}
    refused = world.dynsync("assign", "--person", str(person_id), "--owner", "O'Nobody")
    assert (refused.returncode, "owner_unknown" in refused.stdout) == (1, True)
    world.settle()
    kinds = "select kind, outcome_code from requests where person_id_marketo = ? order by all"
    assert world.query(kinds, person_id) == [
        ("owner", "assigned"), ("owner", "owner_unknown"), ("record", "created"), ("task", "created"), ("task", "created"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/owners", {"person_id": 1}),
        ("/owners", {"person_id": 1, "owner": ""}),
        ("/owners", {"person_id": 1, "owner": "Ann", "as": "account"}),
        ("/tasks", {"person_id": 1}),
        ("/tasks", {"person_id": 1, "subject": " "}),
        ("/tasks", {"person_id": 1, "subject": "😀" * 101}),
        ("/tasks", {"person_id": 1, "subject": "Call", "description": "x" * 2001}),
        ("/tasks", {"person_id": 1, "subject": "Call", "due_in_days": -1}),
        ("/tasks", {"person_id": 1, "subject": "Call", "due_in_days": "soon"}),
        ("/tasks", {"person_id": 1, "subject": "Call", "priority": "urgent"}),
    ],
)
def test_an_owner_or_a_task_that_cannot_be_kept_is_told_why(
    webhook: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    answer = webhook.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert "Nothing was kept" in answer.json()["message"]


def test_whoever_asks_while_a_cycle_runs_is_served_when_it_ends(world: CoreWorld, webhook: httpx.Client) -> None:
    person_id = world.create_person(lastName="Patient")
    with ThreadPoolExecutor(1) as caller:
        with CycleLock(settings_from(world.environment).lock_file, is_cycle=False):
            answer = caller.submit(call, webhook, person_id)
            while webhook.get("/health").json()["waiting"] == 0:
                time.sleep(0.01)
        assert answer.result()["result"] == "created"


@story
def test_no_call_that_was_kept_is_lost_or_served_twice_when_the_listener_is_killed(world: CoreWorld) -> None:
    people = [world.create_person(lastName=f"Killed {n}") for n in range(12)]
    told: dict[int, str] = {}
    for moment_s in (0.4, 0.7, 1.1):
        process = world.start("listen", "--port", "0", DYNSYNC_LISTEN_TOKENS=TOKEN)
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found is not None
        url = found[0]

        def ask(person_id: int, url: str = url) -> None:
            with suppress(httpx.TransportError):
                headers = {"X-DynSync-Token": TOKEN}
                answer = httpx.post(f"{url}/requests", json={"person_id": person_id, "as": "contact"}, headers=headers)
                told[person_id] = answer.json()["result"]

        with ThreadPoolExecutor(len(people)) as callers:
            asked = [callers.submit(ask, person_id) for person_id in people]
            time.sleep(moment_s)
            process.kill()
            wait(asked)
        process.communicate()
    world.sync()
    world.settle()
    kept = world.query("select person_id_marketo, record_id_dynamics from requests where outcome_code = 'created'")
    records = dict(row for row in kept if row[0] in people)
    assert len(records) == len([row for row in kept if row[0] in people])
    assert told.keys() <= records.keys()
    for person_id, record_id in records.items():
        assert world.values(person_id, "dynamicsContactId") == (record_id,)
        assert world.person_of("contact", record_id) == person_id
    with closing(sqlite3.connect(settings_from(world.environment).requests_file)) as store:
        assert store.execute("select count(*) from requests where state <> 'ended'").fetchall() == [(0,)]
    made = [each for each in world.records("contact") if each["contactid"] in records.values()]
    assert len(made) == len(records)


@story
def test_the_command_serves_at_once_and_tells_each(world: CoreWorld) -> None:
    people = [world.create_person(lastName="Pushed") for _ in range(2)]
    file = world.folder / "people.csv"
    file.write_text("\ufeffname,person_id\n" + "".join(f"x,{person}\n" for person in people), "utf-8")
    done = world.dynsync("push", "--csv", str(file), "--person", str(people[0]), "--as", "contact", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(each["person_id"], each["result"]) for each in told] == [(person, "created") for person in people]
    again = world.dynsync("push", "--person", str(people[0]), "--as", "lead")
    assert again.returncode == 0
    assert "already_in_sync" in again.stdout
    with CycleLock(settings_from(world.environment).lock_file):
        waits = world.dynsync("push", "--person", str(world.create_person(lastName="Waits")), "--as", "lead")
    assert (waits.returncode, "queued" in waits.stdout) == (0, True)
    mode = stat.S_IMODE(settings_from(world.environment).requests_file.stat().st_mode)
    assert mode == 0o600


def sensed(settings: Settings) -> str:
    """What a tick of the sensor says."""
    import dagster as dg

    told = build_request_sensor(settings)(dg.build_sensor_context())
    assert isinstance(told, dg.SkipReason)
    return str(told.skip_message)


@story
def test_each_entry_into_a_list_asks_once_and_staying_asks_for_nothing(world: CoreWorld) -> None:
    lists = world.marketing.post(
        "/rest/asset/v1/staticLists.json", data={"name": "To sales", "folder": '{"id":1,"type":"Folder"}'}
    )
    list_id = int(world.answered(lists)["result"][0]["id"])
    settings = settings_from(world.environment | {"DYNSYNC_CONTACT_LIST": str(list_id)})
    early, late = (world.create_person(lastName=name) for name in ("Early", "Late"))

    def on_list(method: str, person_id: int) -> None:
        world.answered(
            world.marketing.request(method, f"/rest/v1/lists/{list_id}/leads.json", params={"id": person_id})
        )

    on_list("POST", early)
    assert sensed(settings) == "0 requests are waiting."
    on_list("POST", late)
    sensed(settings)
    contact_ids = [world.values(person, "dynamicsContactId")[0] for person in (early, late)]
    assert all(contact_ids)
    world.delete_record("contact", contact_ids[0])
    world.sync()
    sensed(settings)
    assert world.values(early, "dynamicsContactId", "dynamicsIsDeleted") == (contact_ids[0], True)
    on_list("DELETE", early)
    on_list("POST", early)
    sensed(settings)
    assert world.values(early, "dynamicsContactId", "dynamicsIsDeleted")[1] is False
    assert world.values(early, "dynamicsContactId")[0] not in (None, contact_ids[0])
    world.settle()


@story
def test_prometheus_reads_the_figures_of_the_last_cycle_and_of_the_requests_on_this_machine(
    world: CoreWorld, webhook: httpx.Client
) -> None:
    world.sync_once()
    with httpx.Client(base_url=webhook.base_url, trust_env=False) as anybody:
        answer = anybody.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    told = {family.name: family.samples for family in text_string_to_metric_families(answer.text)}
    assert told["dynsync_last_cycle_status"]
    assert told["dynsync_requests_waiting"][0].value >= 0


@story
def test_elsewhere_the_figures_are_shown_to_who_has_a_token() -> None:
    class Idle:
        def n_waiting(self) -> int:
            return 3

    app = listener(Settings(), cast(Server, Idle()), [TOKEN], lambda: "a 1\n")

    async def from_elsewhere() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as away:
            return await away.get("/metrics"), await away.get("/metrics", headers={"X-DynSync-Token": TOKEN})

    refused, answer = asyncio.run(from_elsewhere())
    assert refused.status_code == 401
    assert "a 1" not in refused.text
    assert answer.text.startswith("a 1\n")
    assert answer.text.endswith("dynsync_requests_waiting 3\n")
