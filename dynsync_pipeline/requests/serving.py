"""Carrying requests out (R71): people are read, their records made, links stored, keys written; always under the cycle lock.

A request's record bears the request's own id, so that a create whose answer was lost is looked for by it, before anything
else is asked. Whoever is linked is not read here: what a write of unknown outcome did to a person is for a cycle to find out.
Not here: the store (`store.py`), sending (`sending.py`), what is asked for a record that is there (`on_records.py`), who holds
the lock (`desk.py`), what a request is judged by (`sql/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Systems
from dynsync_pipeline.errors import ApiError, RecordMissing
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, UNREAD, RecordType
from dynsync_pipeline.requests.doubles import possible_doubles
from dynsync_pipeline.requests.on_records import OnRecords
from dynsync_pipeline.requests.owners import find_owners
from dynsync_pipeline.requests.sending import Row, Sending, Wanted
from dynsync_pipeline.requests.store import Request, RequestStore
from dynsync_pipeline.requests.telling import LONGEST_GAP, End, Telling
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.canonical import canonical_in_marketo
from dynsync_pipeline.warehouse.columns import dynamics_columns, quoted
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.erased import without_erased
from dynsync_pipeline.warehouse.follow_map import move_base
from dynsync_pipeline.warehouse.mirrors import (
    PersonColumns,
    land_dynamics,
    land_people,
    take_in_dynamics,
    take_in_people,
)

if TYPE_CHECKING:
    import pyarrow as pa

KNOWING = ("requests/known_requests",)
JUDGING = ("requests/judged_requests",)
SENDING = ("requests/sent_requests",)
LINKING = ("requests/requested_links",)
KEYING = ("requests/requested_keys",)

MOST_REQUESTS = 300  # what Marketo shows, and takes, in one call


class Serving:
    """One turn at the requests, with both systems and the working file at hand. The caller holds the cycle lock.

    `fields` are those that the working file follows; `is_in_cycle`: both systems were read just now. Raises: StorageFailed.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        systems: Systems,
        settings: Settings,
        fields: FieldMap,
        store: RequestStore,
        *,
        is_in_cycle: bool,
    ) -> None:
        self._warehouse = warehouse
        self._systems = systems
        self._default_owner = settings.default_owner
        self._reports_doubles = settings.report_doubles
        self._fields = fields
        self._columns = PersonColumns(fields, settings.own_fields)
        self._store = store
        self._telling = Telling(warehouse, store, is_in_cycle=is_in_cycle)
        self._requests: dict[str, Request] = {}
        self._linked: set[str] = set()
        self._doubles: dict[str, str] = {}

    def serve(self, most: int | None = None) -> str | None:
        """Serve the requests that are due, `most` at most; returns why some of them wait, as a sentence, or None."""
        self._end([End(each, each.outcome or "", each.message, each.field) for each in self._store.untold()])
        on_records = OnRecords(self._warehouse, self._systems.dynamics, self._store, self._telling)
        failure: str | None = None
        try:
            on_records.ask_for_records(self._due(most))
            due = self._due(most)
            of_people = [each for each in due if each.kind == "record"]
            for start in range(0, len(of_people), MOST_REQUESTS):
                failure = self._serve(of_people[start : start + MOST_REQUESTS]) or failure
            failure = on_records.serve([each for each in due if each.kind != "record"]) or failure
        except ApiError as error:  # nobody could be read; every request stays as it is
            failure = str(error)
        self._forget_ended()
        return failure

    def _due(self, most: int | None) -> list[Request]:
        return self._store.due(self._warehouse.now(), LONGEST_GAP)[:most]

    def _serve(self, due: Sequence[Request]) -> str | None:
        self._requests = {each.request_id: each for each in due}
        known = self._known(due)
        self._linked = {request_id for request_id, (kind, _) in known.items() if kind == "linked"}
        self._end([End(self._requests[each], "created") for each, (kind, _) in known.items() if kind == "ended"])
        creates = {record_type: self._creates(record_type) for record_type in PERSON_TYPES}
        fresh = [each for each, (kind, _) in known.items() if kind == "new"]
        for record_type, of_type in creates.items():
            sent = [each for each, (kind, _) in known.items() if kind == "sent" and self._type_of(each) is record_type]
            fresh += of_type.find(sent)
        in_sync = [self._requests[each] for each in fresh if known[each][1]]
        self._end([End(each, "already_in_sync", _SENTENCES["already_in_sync"]) for each in in_sync])
        unlinked = [self._requests[each] for each in sorted(fresh) if not known[each][1]]
        named = [(each, each.owner or self._default_owner) for each in unlinked]
        owners = find_owners(self._systems.dynamics, named, self._telling)
        for record_type, records in self._judge(owners).items():
            creates[record_type].send(records)
        self._write_keys()
        return next((each.failure for each in creates.values() if each.failure), None)

    def _known(self, due: Sequence[Request]) -> dict[str, tuple[str, bool]]:
        """What is known of each request, and whether its person is linked; `pending_requests` holds them from now on."""
        with self._warehouse.transaction() as connection:
            self._telling.begin(connection)
            connection.execute(_PENDING)
            connection.executemany(
                "insert into pending_requests (request_id, person_id, record_type, is_fresh) values (?, ?, ?, false)",
                [[each.request_id, each.person_id, each.record_type.value] for each in due],
            )
            run_steps(connection, KNOWING)
            rows = connection.execute("select request_id, kind, is_linked from known_requests order by 1").fetchall()
        return {request_id: (kind, is_linked) for request_id, kind, is_linked in rows}

    def _judge(self, owners: Mapping[str, str | None]) -> dict[RecordType, list[Wanted]]:
        """Read the people of these requests, and tell or put off those that get no record; the records of the others."""
        if not owners:
            return {}
        people, has_witness = self._read({self._requests[each].person_id for each in owners})
        with self._warehouse.transaction() as connection:
            people = without_erased(connection, people)
            land_people(connection, self._columns, people)
            take_in_people(connection, self._warehouse.now())
            self._show_people(connection, people)
            connection.execute(
                "update pending_requests set is_fresh = true, owner_id = o.owner_id from (select unnest(?::varchar[]) as "
                "request_id, unnest(?::varchar[]) as owner_id) o where o.request_id = pending_requests.request_id",
                [list(owners), list(owners.values())],
            )
            run_steps(connection, JUDGING)
            rows = connection.execute(
                "select request_id, verdict, field, body from judged_requests order by request_id"
            ).fetchall()
            if self._reports_doubles:
                about_to_be_made = [row[0] for row in rows if row[1] == "ready"]
                self._doubles |= possible_doubles(connection, self._fields, about_to_be_made)
        ready: dict[RecordType, list[Wanted]] = {record_type: [] for record_type in PERSON_TYPES}
        for request_id, verdict, field, body in rows:
            request = self._requests[request_id]
            if verdict == "ready":
                ready[request.record_type].append(Wanted(request_id, body, request.attempts))
            elif verdict in _WAITING:
                self.put_off([request_id], _WAITING[verdict])
            elif verdict == "person_missing" and not has_witness:
                self.put_off([request_id], _NOBODY)
            else:
                self._end([End(request, verdict, _SENTENCES[verdict].format(field=field), field)])
        return ready

    def _read(self, person_ids: Iterable[int]) -> tuple[pa.Table, bool]:
        """People as Marketo shows them, with the company's fields, and whether it shows somebody who is known to live.

        An answer that shows nobody proves nothing (docs/design.md#deletions).
        """
        import pyarrow as pa  # not before there are rows
        import pyarrow.compute as pc

        wanted = [str(each) for each in sorted(person_ids)]
        with self._warehouse.reading() as connection:
            witness = connection.execute(
                "select person_id::varchar from mirror.marketo_people where not is_deleted "
                "and person_id::varchar not in (select unnest(?)) limit 1",
                [wanted],
            ).fetchall()
        names = [*self._columns.names, *self._fields.company_fields]
        people = self._systems.marketo.people("id", [*wanted, *(row[0] for row in witness)], names)
        is_asked = pc.is_in(people["id"], pa.array(wanted, pa.string()))
        return people.filter(is_asked), not witness or people.num_rows > (pc.sum(is_asked).as_py() or 0)

    def _show_people(self, connection: duckdb.DuckDBPyConnection, people: pa.Table) -> None:
        """What was read of people, company fields included, as the table `requesting_people`."""
        kinds = {**self._fields.company_fields, **self._columns.kinds}
        connection.register("read_people", people)
        is_read = f"where {quoted(UNREAD)} is null" if UNREAD in people.column_names else ""
        values = "".join(
            f", {canonical_in_marketo(name, kind, people)} as {quoted(name)}" for name, kind in kinds.items()
        )
        connection.execute(
            f"create or replace temp table requesting_people as select id::bigint as person_id{values} from read_people {is_read}"
        )
        connection.unregister("read_people")

    def _write_keys(self) -> None:
        """Write the keys of the people whose links stand, and end their requests; who cannot be written waits."""
        with self._warehouse.reading() as connection:
            run_steps(connection, KEYING)
            rows = connection.execute("select request_id, person_id, keys from requested_keys order by 1").fetchall()
        linked = [row[0] for row in rows]
        self.put_off(sorted(self._linked.difference(linked)), _LATER)
        if not linked:
            return
        try:
            results = self._systems.marketo.sync_people("updateOnly", "id", [row[2] for row in rows])
            written = [str(row[1]) for row, result in zip(rows, results, strict=True) if result.error is None]
            people = self._systems.marketo.people("id", written, self._columns.names)
        except ApiError as error:
            self.put_off(linked, str(error))
            return
        with self._warehouse.transaction() as connection:
            land_people(connection, self._columns, people)
            take_in_people(connection, self._warehouse.now(), is_receipt=True)
        for request_id, result in zip(linked, results, strict=True):
            if result.error is None or isinstance(result.error, RecordMissing):
                self._store.ended([(request_id, "created", self._doubles.get(request_id), None)])
            else:
                self.put_off([request_id], str(result.error))

    # -- what became of them, as `sending.Results` -------------------------------------------------------------------

    def note_sent(self, record_ids: Sequence[str]) -> None:
        """Note, before they leave, which records are about to be made and of what."""
        with self._warehouse.transaction() as connection:
            connection.execute(
                "create or replace temp table sent_requests as select unnest(?::varchar[]) as request_id",
                [list(record_ids)],
            )
            run_steps(connection, SENDING)

    def written(self, rows: Mapping[str, Row], *, is_new: bool) -> None:
        """Store links to the records in `rows`, by request, as Dynamics shows them."""
        import pyarrow as pa  # not before there are rows

        record_type = self._type_of(next(iter(rows)))
        names = ["id", "etag", *(column.name for column in self._columns_of(record_type))]
        table = pa.table({name: pa.array([row[name] for row in rows.values()], pa.string()) for name in names})
        with self._warehouse.transaction() as connection:
            land_dynamics(connection, self._fields, TABLES[record_type], table, [])
            take_in_dynamics(connection, self._warehouse.now(), record_type, is_receipt=True)
            connection.execute(
                "create or replace temp table made_records as "
                "select request_id, person_id, record_type, ? as is_new from pending_requests "
                "where request_id in (select unnest(?::varchar[]))",
                [is_new, list(rows)],
            )
            self._telling.begin(connection)
            run_steps(connection, LINKING)
            move_base(connection)
            linked = [row[0] for row in connection.execute("select request_id from requested_links").fetchall()]
            alone = [End(self._requests[each], "created", _ALONE) for each in rows if each not in linked]
            told = [End(self._requests[each], "created", self._doubles.get(each)) for each in linked]
            self._telling.tell(connection, [*told, *alone])
        self._linked.update(linked)
        self._store.linked([(each, self._doubles.get(each)) for each in linked])
        self._telling.note(alone)

    def refuse(self, record_id: str, error: ApiError) -> None:
        """End a request that Dynamics refused."""
        self._end([End(self._requests[record_id], "refused", str(error), error.field)])

    def put_off(self, record_ids: Sequence[str], message: str) -> None:
        """Try these again later; `message` says why."""
        self._telling.put_off([self._requests[each] for each in record_ids], message)

    # -- help ----------------------------------------------------------------------------------------------------------

    def _type_of(self, request_id: str) -> RecordType:
        return self._requests[request_id].record_type

    def _creates(self, record_type: RecordType) -> Sending:
        return Sending(self._systems.dynamics, TABLES[record_type], self._columns_of(record_type), self, makes=True)

    def _columns_of(self, record_type: RecordType) -> list[Column]:
        return [Column(name, kind) for name, kind in dynamics_columns(self._fields, record_type).items()]

    def _end(self, ends: Sequence[End]) -> None:
        self._telling.end(ends)

    def _forget_ended(self) -> None:
        """Let the next plan look at records whose request ended, or is gone with the store, as at any other."""
        unfinished = [each.request_id for each in self._store.unfinished()]
        with self._warehouse.transaction() as connection:
            connection.execute(
                "insert into inbox.touched (record_type, dynamics_id, is_receipt) select record_type, dynamics_id, false "
                "from state.requested where dynamics_id not in (select unnest(?::varchar[]))",
                [unfinished],
            )
            for table in ("state.requested", "state.requested_values"):
                connection.execute(
                    f"delete from {table} where dynamics_id not in (select unnest(?::varchar[]))", [unfinished]
                )


_LATER = "The person's keys are written once the next cycle knows what became of an earlier write."
_ALONE = "The record was made, but its person is gone meanwhile, or linked to another record."
_NOBODY = "Marketo shows nobody, not even somebody who is known to live."
# Why a request waits that Dynamics was not asked about.
_WAITING = {
    "unread": "The person cannot be read in Marketo; see sync_errors.",
    "unseen_key": "The person holds the id of a record that no cycle has seen yet; the next one tells.",
}
# How one ends that Dynamics was not asked about.
_SENTENCES = {
    "already_in_sync": "The person is already in the sync process; nothing was done (R73).",
    "person_missing": "Marketo shows no person with this id to the sync's user; nothing was done.",
    "required": "{field} is empty in Marketo, and Dynamics requires it. Fill it, and ask again.",
}
_PENDING = """
create or replace temp table pending_requests (
    request_id varchar not null, person_id bigint not null, record_type varchar not null, owner_id varchar,
    is_fresh boolean not null
)
"""
