"""The Dataverse client over real HTTP: the emulator for what it does, a scripted server for what it does not."""

from __future__ import annotations

import json
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from dynsync_pipeline import errors
from dynsync_pipeline.clients.budget import CallBudget
from dynsync_pipeline.clients.dynamics.auth import DynamicsTokens
from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.dynamics.protocol import ChangesPage, Column, RecordWrite, WriteResult
from dynsync_pipeline.clients.transport import Transport
from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.clients.dynamics.test_auth import certificate_file
from dynsync_pipeline_tests.clients.servers import Canned, LocalServer, Seen, canned_json, serving
from dynsync_pipeline_tests.worlds.rows import found

MakeSettings = Callable[..., Settings]
CONTACTS = TABLES[RecordType.CONTACT]
COLUMNS = (
    Column("lastname", FieldType.TEXT),
    Column("jobtitle", FieldType.TEXT),
    Column("donotphone", FieldType.BOOLEAN),
    Column("statecode", FieldType.CHOICE),
    Column("modifiedon", FieldType.DATETIME),
    Column("_parentcustomerid_value", FieldType.TEXT),
)
NOBODY = "00000000-0000-4000-8000-000000000001"


@contextmanager
def dynamics(settings: Settings, budget: CallBudget | None = None) -> Iterator[DynamicsClient]:
    with DynamicsClient.from_settings(settings, budget or CallBudget("dynamics", 10_000)) as client:
        yield client


@pytest.fixture
def client(emulator_settings: MakeSettings) -> Iterator[DynamicsClient]:
    with dynamics(emulator_settings()) as connected:
        yield connected


def write_one(client: DynamicsClient, record_id: str, etag: str | None, **values: object) -> WriteResult:
    (result,) = client.write(CONTACTS, COLUMNS, [RecordWrite(record_id, json.dumps(values), etag)])
    return result


def created(client: DynamicsClient, **values: object) -> dict[str, str | None]:
    """A new contact as Dynamics shows it."""
    result = write_one(client, str(uuid.uuid4()), None, **values)
    assert result.error is None
    assert result.row is not None
    return result.row


def all_changes(client: DynamicsClient, cursor: str | None, page_size: int = 5000) -> list[ChangesPage]:
    return list(client.changes(CONTACTS, COLUMNS, cursor, page_size=page_size))


def rows_of(pages: list[ChangesPage]) -> list[dict[str, str | None]]:
    return [row for page in pages if page.n_rows for row in found(page).to_pylist()]


# Signing in


def test_secret_certificate_and_password_all_sign_in(emulators: Emulators, emulator_settings: MakeSettings) -> None:
    none: dict[str, object] = {"dynamics_client_secret": None}
    ways: list[dict[str, object]] = [
        {},
        {**none, "dynamics_certificate_file": emulators.certificate_file},
        {**none, "dynamics_username": emulators.username, "dynamics_password": emulators.password},
    ]
    for way in ways:
        with dynamics(emulator_settings(**way)) as client:
            assert str(uuid.UUID(client.who_am_i())) == client.who_am_i()


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"dynamics_client_secret": "wrong"}, "DYNSYNC_DYNAMICS_CLIENT_SECRET"),
        ({"dynamics_client_id": NOBODY}, "DYNSYNC_DYNAMICS_CLIENT_ID"),
        ({"dynamics_tenant_id": NOBODY}, "DYNSYNC_DYNAMICS_TENANT_ID"),
        ({"dynamics_certificate_file": "another"}, "DYNSYNC_DYNAMICS_CERTIFICATE_FILE"),
        ({"dynamics_username": "emulators", "dynamics_password": "wrong"}, "DYNSYNC_DYNAMICS_PASSWORD"),
    ],
)
def test_what_is_wrong_with_the_credentials_is_said_with_the_setting(
    emulators: Emulators, emulator_settings: MakeSettings, tmp_path: Path, given: dict[str, Any], setting: str
) -> None:
    if "dynamics_certificate_file" in given:
        given = {"dynamics_certificate_file": certificate_file(tmp_path), "dynamics_client_secret": None}
    if "dynamics_username" in given:
        given = {**given, "dynamics_username": emulators.username, "dynamics_client_secret": None}
    with dynamics(emulator_settings(**given)) as client, pytest.raises(errors.SignInRefused) as raised:
        client.who_am_i()
    assert setting in raised.value.next_step
    assert "wrong" not in str(raised.value).replace("is wrong", "")  # the sentence may say it, the value is not shown


def test_an_unreachable_authority_and_an_unreachable_environment_are_named(
    emulator_settings: MakeSettings, make_settings: MakeSettings
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        unsigned = emulator_settings(dynamics_authority=f"https://{host}")
        with dynamics(unsigned) as client, pytest.raises(errors.Unreachable, match=host):
            client.who_am_i()
        url, tokens = f"https://{host}", Tokens()
        transport = Transport("dynamics", url, make_settings(), tokens=tokens)
        with DynamicsClient(url, transport, tokens) as client, pytest.raises(errors.Unreachable, match=host):
            client.who_am_i()


def test_another_certificate_authority_is_refused_with_the_setting(
    emulator_settings: MakeSettings, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with dynamics(emulator_settings(ca_file=other)) as client, pytest.raises(errors.Unreachable) as raised:
        client.who_am_i()
    assert "DYNSYNC_CA_FILE" in raised.value.next_step


# Reading


def test_metadata_tells_what_the_field_map_needs(client: DynamicsClient) -> None:
    for table in TABLES.values():
        found = client.table_metadata(table)
        assert found.entity_set == table.entity_set
        assert found.is_change_tracked
    contact = client.table_metadata(CONTACTS).columns
    assert contact["jobtitle"].max_length == 100
    assert contact["jobtitle"].is_updatable
    assert not contact["modifiedon"].is_updatable
    assert contact["statecode"].options[0] == "Active"
    assert contact["_parentcustomerid_value"].name == "parentcustomerid"
    assert (contact["birthdate"].time_behavior, contact["modifiedon"].time_behavior) == ("DateOnly", "UserLocal")
    assert (contact["annualincome"].precision, contact["exchangerate"].precision) == (2, 12)


def test_the_users_time_zone_is_told_in_the_words_of_the_world(client: DynamicsClient, emulators: Emulators) -> None:
    assert client.time_zone() == "Etc/UTC"
    httpx.post(
        f"{emulators.dataverse_url}/emulator/dataverse/time_zone",
        json={"user": "sync", "code": 110},
        verify=ssl.create_default_context(cafile=str(emulators.tls.ca_file)),
    ).raise_for_status()
    assert client.time_zone() == "Europe/Berlin"


def test_a_user_who_may_not_read_its_settings_has_no_time_zone(make_settings: MakeSettings) -> None:
    """A date in a user-local column is then parked, and nothing else."""
    user, denied = canned_json({"UserId": NOBODY}), canned_json({"error": {"code": "0x80040220", "message": "no"}}, 403)
    absent = canned_json({"error": {"code": "0x80040217", "message": "no such row"}}, 404)
    unknown = canned_json({"timezonecode": 7}), canned_json({"value": []})
    for answers in ([user, denied], [user, absent], [user, canned_json([])], [user, *unknown]):
        with scripted(make_settings, partial(in_turn, answers)) as (client, _):
            assert client.time_zone() is None


def test_users_and_teams_are_told_with_what_changed_since(client: DynamicsClient) -> None:
    """R24."""
    found = {owner.name: owner for owner in client.owners(None)}
    assert found["Sally Sales"].email == "sally.sales@emulator.example"
    assert [(owner.is_team, owner.is_enabled) for owner in found.values()] == [(False, True)] * 3 + [(True, True)]
    assert client.owners(max(owner.modified_on for owner in found.values())) != []
    assert client.owners("2999-01-01T00:00:00Z") == []


def test_users_are_read_to_the_last_page(make_settings: MakeSettings) -> None:
    def answer(request: Seen, n_before: int) -> Canned:
        if "teams" in request.path:
            return canned_json({"value": []})
        user = {"systemuserid": f"{NOBODY[:-1]}{n_before}", "modifiedon": "2026-01-01T00:00:00Z", "fullname": None}
        link = f"http://{request.headers['host']}{request.path}&more" if n_before < 2 else None
        return canned_json({"value": [user], "@odata.nextLink": link})

    with scripted(make_settings, answer) as (client, _):
        assert [owner.id[-1] for owner in client.owners(None)] == ["0", "1", "2"]


def in_turn(answers: Sequence[Canned], _: Seen, n_before: int) -> Canned:
    """One answer after the other, the last one again and again."""
    return answers[min(n_before, len(answers) - 1)]


def test_a_full_read_comes_in_pages_and_its_last_cursor_brings_what_changed_since(
    client: DynamicsClient, emulators: Emulators
) -> None:
    pages = all_changes(client, None, page_size=25)
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(page.n_rows <= 25 for page in pages)
    rows = {row["id"]: row for row in rows_of(pages)}
    assert len(rows) >= 60

    known = next(iter(rows.values()))
    edited = write_one(client, str(known["id"]), known["etag"], jobtitle="Chef Zoë 🌍")
    new = created(client, lastname="New")
    gone = created(client, lastname="Gone")
    answer = httpx.delete(
        f"{emulators.dataverse_url}/api/data/v9.2/contacts({gone['id']})",
        headers={"Authorization": f"Bearer {emulators.environment['DATAVERSE_TOKEN']}"},
        verify=ssl.create_default_context(cafile=str(emulators.tls.ca_file)),
    )
    assert answer.status_code == 204

    delta = all_changes(client, pages[-1].cursor)
    assert {row["id"]: row for row in rows_of(delta)} == {known["id"]: edited.row, new["id"]: new}
    assert [each for page in delta for each in page.deleted_ids] == [gone["id"]]
    assert rows_of(all_changes(client, delta[-1].cursor)) == []


def test_a_read_that_was_cut_goes_on_from_the_cursor_of_its_last_page(client: DynamicsClient) -> None:
    whole = all_changes(client, None, page_size=20)
    first = next(client.changes(CONTACTS, COLUMNS, None, page_size=20))
    rest = all_changes(client, first.cursor, page_size=20)
    assert [row["id"] for row in rows_of([first, *rest])] == [row["id"] for row in rows_of(whole)]


def test_an_expired_cursor_and_one_of_another_address_demand_a_full_read(client: DynamicsClient) -> None:
    cursor = all_changes(client, None)[-1].cursor
    year = cursor.rpartition("%2F")[2][:4]
    for unusable in (cursor.replace(f"%2F{year}%20", "%2F2001%20"), cursor.replace("127.0.0.1", "evil.example")):
        assert unusable != cursor
        with pytest.raises(errors.CursorExpired):
            all_changes(client, unusable)


def test_a_column_that_does_not_exist_is_named(client: DynamicsClient) -> None:
    nope = Column("nope", FieldType.TEXT)
    for read in (
        lambda: list(client.changes(CONTACTS, [*COLUMNS, nope], None)),
        lambda: client.records(CONTACTS, [*COLUMNS, nope], [NOBODY]),
    ):
        with pytest.raises(errors.ColumnUnknown) as raised:
            read()
        assert raised.value.field == "nope"


def test_any_number_of_records_is_read_by_id_and_missing_ones_are_absent(client: DynamicsClient) -> None:
    rows = {row["id"]: row for row in rows_of(all_changes(client, None))}
    wanted = [str(record_id).upper() for record_id in rows]
    strangers = [str(uuid.UUID(int=n, version=4)) for n in range(700)]
    found = client.records(CONTACTS, COLUMNS, [*strangers[:350], *wanted, *wanted, *strangers[350:]])
    assert {row["id"]: row for row in found.to_pylist()} == rows
    assert found.num_rows == len(rows)
    assert client.records(CONTACTS, COLUMNS, []).column_names == ["id", "etag", *(name for name, _ in COLUMNS)]


def test_records_looked_up_are_shown_or_proven_missing(client: DynamicsClient) -> None:
    rows = {row["id"]: row for row in rows_of(all_changes(client, None))}
    strangers = [str(uuid.UUID(int=n, version=4)) for n in range(120)]
    looked = client.look_up(CONTACTS, COLUMNS, [*strangers, *(str(record_id).upper() for record_id in rows)])
    assert {row["id"]: row for row in looked.rows.to_pylist()} == rows
    assert sorted(looked.missing_ids) == sorted(strangers)
    assert looked.unproven == {}


def test_tables_are_read_side_by_side_with_one_sign_in(emulator_settings: MakeSettings) -> None:
    with dynamics(emulator_settings()) as client, ThreadPoolExecutor(6) as pool:
        reads = list(pool.map(lambda _: rows_of(all_changes(client, None, page_size=10)), range(12)))
    assert all(read == reads[0] for read in reads)


# Writing


def test_each_write_of_a_batch_has_its_own_outcome_and_the_others_stand(client: DynamicsClient) -> None:
    edited, stale, existing, long, misspelt, bound, option = (created(client, lastname=f"N{n}") for n in range(7))
    new = str(uuid.uuid4())

    def update(row: dict[str, str | None], **values: object) -> RecordWrite:
        return RecordWrite(str(row["id"]), json.dumps(values), row["etag"])

    results = client.write(
        CONTACTS,
        COLUMNS,
        [
            update(edited, jobtitle="Chef Zoë 🌍", donotphone=True),
            RecordWrite(str(stale["id"]), '{"jobtitle":"unseen"}', 'W/"1"'),
            RecordWrite(new, '{"lastname":"New"}', None),
            RecordWrite(str(existing["id"]), '{"lastname":"Again"}', None),
            update(long, jobtitle="x" * 150),
            RecordWrite(NOBODY, '{"jobtitle":"x"}', 'W/"1"'),
            update(misspelt, nope=1),
            update(bound, **{"parentcustomerid_account@odata.bind": f"/accounts({NOBODY})"}),
            update(option, preferredcontactmethodcode=99),
        ],
    )
    assert [type(result.error) for result in results] == [
        type(None),
        errors.ChangedMeanwhile,
        type(None),
        errors.RecordExists,
        errors.RequestRefused,
        errors.RecordMissing,
        errors.ColumnUnknown,
        errors.RequestRefused,
        errors.RequestRefused,
    ]
    named = [result.error.field for result in results if isinstance(result.error, errors.RequestRefused)]
    assert named == ["jobtitle", "nope", None, "preferredcontactmethodcode"]
    assert results[0].row is not None
    assert (results[0].row["jobtitle"], results[0].row["donotphone"]) == ("Chef Zoë 🌍", "true")
    now = {
        row["id"]: row
        for row in client.records(CONTACTS, COLUMNS, [str(edited["id"]), str(stale["id"]), new]).to_pylist()
    }
    assert now[edited["id"]] == results[0].row
    assert now[stale["id"]] == stale
    assert now[new] == results[2].row


def test_each_operation_of_a_batch_counts_against_the_budget(emulator_settings: MakeSettings) -> None:
    budget = CallBudget("dynamics", 10_000)
    with dynamics(emulator_settings(), budget) as client:
        client.write(CONTACTS, COLUMNS, [RecordWrite(str(uuid.uuid4()), '{"lastname":"x"}', None)] * 1)
        assert budget.used == 1
        client.write(CONTACTS, COLUMNS, [RecordWrite(str(uuid.uuid4()), '{"lastname":"x"}', None) for _ in range(7)])
        assert budget.used == 8
        assert client.write(CONTACTS, COLUMNS, []) == []
        assert budget.used == 8


# What the emulator does not do


class Tokens(DynamicsTokens):
    """Tokens that count how often one was refused."""

    def __init__(self) -> None:
        self.n = 0

    def current(self) -> str:
        return f"token-{self.n}"

    def forget(self, _: str) -> None:
        self.n += 1

    def close(self) -> None:
        pass


@contextmanager
def scripted(
    make_settings: MakeSettings, answer: Callable[[Seen, int], Canned]
) -> Iterator[tuple[DynamicsClient, LocalServer]]:
    with serving(answer) as server:
        tokens = Tokens()
        transport = Transport("dynamics", server.url, make_settings(), tokens=tokens)
        with DynamicsClient(server.url, transport, tokens) as client:
            yield client, server


def row(number: int) -> dict[str, object]:
    return {
        "@odata.etag": 'W/"1"',
        "contactid": str(uuid.UUID(int=number)),
        **{column.name: None for column in COLUMNS},
    }


def test_a_table_without_change_tracking_is_a_sentence_and_no_endless_full_read(make_settings: MakeSettings) -> None:
    with (
        scripted(make_settings, lambda *_: canned_json({"value": [row(1)]})) as (client, _),
        pytest.raises(errors.RequestRefused, match="change tracking is off") as raised,
    ):
        all_changes(client, None)
    assert "Track changes" in raised.value.next_step


@pytest.mark.parametrize("link", ["https://evil.example/api/data/v9.2/contacts?$skiptoken=1", "contacts?$skiptoken=1"])
def test_a_link_to_another_host_is_not_followed(make_settings: MakeSettings, link: str) -> None:
    with scripted(make_settings, lambda *_: canned_json({"value": [], "@odata.nextLink": link})) as (client, server):
        with pytest.raises(errors.AnswerUnreadable, match="another host"):
            all_changes(client, None)
        assert len(server.requests) == 1


def test_a_link_that_does_not_move_on_ends_the_read(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        return canned_json({"value": [row(1)], "@odata.nextLink": f"http://{request.headers['host']}/stuck"})

    with scripted(make_settings, answer) as (client, server):
        with pytest.raises(errors.LinkRefused, match="does not move on"):
            all_changes(client, None)
        assert len(server.requests) == 2


def test_links_are_followed_byte_for_byte_with_the_page_size_asked_again(make_settings: MakeSettings) -> None:
    path = "/api/data/v9.2/contacts?$select=a&$skiptoken=%3Ccookie%20pagenumber=%222%22%20c=%22%253cx%253e%22/%3E"

    def answer(request: Seen, n_earlier: int) -> Canned:
        here = f"http://{request.headers['host']}{path}"
        return canned_json(
            {"value": [], "@odata.nextLink": here} if n_earlier == 0 else {"value": [], "@odata.deltaLink": here + "9"}
        )

    with scripted(make_settings, answer) as (client, server):
        all_changes(client, None, page_size=77)
        assert server.requests[1].path == path
        assert all("odata.maxpagesize=77" in request.headers["prefer"] for request in server.requests)
        assert all("odata.track-changes" in request.headers["prefer"] for request in server.requests)


def test_half_a_page_is_read_again_and_never_taken_for_a_whole_one(make_settings: MakeSettings) -> None:
    def answer(request: Seen, n_earlier: int) -> Canned:
        whole = canned_json({"value": [row(1), row(2)], "@odata.deltaLink": f"http://{request.headers['host']}/d"})
        return Canned(body=whole.body[:-40]) if n_earlier == 0 else whole

    with scripted(make_settings, answer) as (client, server):
        assert len(rows_of(all_changes(client, None))) == 2
        assert len(server.requests) == 2


def test_metadata_of_another_shape_is_unreadable(make_settings: MakeSettings) -> None:
    with (
        scripted(make_settings, lambda *_: canned_json({"value": "?"})) as (client, _),
        pytest.raises(errors.AnswerUnreadable, match="EntitySetName"),
    ):
        client.table_metadata(CONTACTS)


def test_a_401_renews_the_token_once_and_a_batch_goes_out_again(make_settings: MakeSettings) -> None:
    def answer(request: Seen, _: int) -> Canned:
        if request.headers["authorization"] == "Bearer token-0":
            return canned_json({"error": {"code": "0x1", "message": "expired"}}, 401)
        return batch_answer([row(1)])

    with scripted(make_settings, answer) as (client, server):
        assert write_one(client, str(uuid.UUID(int=1)), None).error is None
        assert len(server.requests) == 2


def batch_answer(rows: list[dict[str, object]]) -> Canned:
    parts = "".join(
        "--r\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{json.dumps(each)}\r\n"
        for each in rows
    )
    return Canned(body=f"{parts}--r--\r\n".encode(), headers={"Content-Type": "multipart/mixed; boundary=r"})


def test_a_batch_that_was_refused_for_its_rate_is_sent_again(make_settings: MakeSettings) -> None:
    limit = canned_json({"error": {"code": "0x80072322", "message": "slow"}}, 429, Retry_After="2")
    with scripted(make_settings, lambda _, n: limit if n == 0 else batch_answer([row(1)])) as (client, server):
        assert write_one(client, str(uuid.UUID(int=1)), None).error is None
        assert len(server.requests) == 2


MULTIPART = {"Content-Type": "multipart/mixed; boundary=r"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Canned(stop_after_bytes=0), errors.TimedOut),
        (Canned(body=batch_answer([row(1)]).body, headers=MULTIPART, stop_after_bytes=50), errors.TimedOut),
        (Canned(body=b"--r\r\nContent", headers=MULTIPART), errors.TimedOut),
        (Canned(502, b"<html>"), errors.ServerFailed),
        (Canned(200, b"<html>"), errors.AnswerUnreadable),
    ],
)
def test_a_batch_whose_outcome_is_unknown_is_never_sent_again(
    make_settings: MakeSettings, answer: Canned, kind: type[errors.ApiError]
) -> None:
    with scripted(make_settings, lambda *_: answer) as (client, server):
        with pytest.raises(errors.ApiError) as raised:
            write_one(client, str(uuid.UUID(int=1)), 'W/"1"')
        assert type(raised.value) is kind
        assert len(server.requests) == 1
