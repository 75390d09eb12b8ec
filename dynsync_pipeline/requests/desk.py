"""Serving requests, in a cycle or between two: lists are looked at, then whatever is due is carried out.

Neither makes a cycle of it: the pause until the next one goes on as before. Not here: carrying out (`serving.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from dynsync_pipeline.clients.systems import SYSTEMS, RemoteSystems, Systems
from dynsync_pipeline.errors import CycleRunning, StorageFailed
from dynsync_pipeline.model.field_map import FieldMap, load_field_map
from dynsync_pipeline.requests.lists import look_at_lists
from dynsync_pipeline.requests.serving import MOST_REQUESTS, Serving
from dynsync_pipeline.requests.store import Request, RequestStore, Wish, make_data_dir
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse, scalar, utc_now
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import calls_of_last_day, count_between
from dynsync_pipeline.warehouse.follow_map import followed_fields
from dynsync_pipeline.warehouse.operator_actions import Action
from dynsync_pipeline.warehouse.pause import read_pause
from dynsync_pipeline.warehouse.restored import is_to_be_read_again
from dynsync_pipeline.warehouse.systems import require_same_systems

LONGEST_OPEN_S = 600.0  # after which the systems are opened anew, with what is left of the day's budget
RETRY_LIMIT_S = 5.0
IN_SHADOW = "Requests write to Dynamics, which shadow does not: what is queued is kept until DYNSYNC_MODE is live."
NOT_YET = "No cycle has gone through yet, or since a restore; requests are served once the first one has."


def note_requests(warehouse: Warehouse, settings: Settings) -> None:
    """Tell the next plan of every unfinished request for a record, also where the working file is older than the store (R71).

    A store that cannot be read stops no plan: what was sent is noted in the working file besides.
    """
    if not settings.requests_file.exists():
        return
    with suppress(StorageFailed), RequestStore(settings.requests_file) as store:
        unfinished = [each for each in store.unfinished() if each.kind == "record"]
        with warehouse.transaction() as connection:
            connection.execute(
                "insert into state.requested (person_id, record_type, dynamics_id) "
                "select person_id, record_type, dynamics_id from (select unnest(?::bigint[]) as person_id, "
                "unnest(?::varchar[]) as record_type, unnest(?::varchar[]) as dynamics_id) "
                "where dynamics_id not in (select dynamics_id from state.requested)",
                [
                    [each.person_id for each in unfinished],
                    [each.record_type.value for each in unfinished],
                    [each.request_id for each in unfinished],
                ],
            )


def serve_in_cycle(warehouse: Warehouse, systems: Systems, settings: Settings, fields: FieldMap) -> str | None:
    """Serve what is due, in a cycle whose plan has passed its guards; returns why some of it waits, or None.

    Costs nothing where no door was ever used.
    """
    with warehouse.reading() as connection:
        has_sent = scalar(connection, "select count(*) from state.requested") > 0
    if not (settings.lists or settings.requests_file.exists() or has_sent):
        return None
    try:
        store = RequestStore(settings.requests_file)
    except StorageFailed as error:  # the sync goes on without
        return str(error)
    with store:
        failure = look_at_lists(store, systems.marketo, settings, warehouse.now())
        return Serving(warehouse, systems, settings, fields, store, is_in_cycle=True).serve() or failure


class Desk:
    """Serves requests while no cycle runs. Use it in `with`; the systems stay connected between two turns."""

    def __init__(self, settings: Settings, store: RequestStore) -> None:
        settings.require_systems()
        # Nobody waits long for a system while the cycle lock is held: requests are tried again, and cycles go first.
        self._settings = settings.model_copy(update={"retry_limit_s": min(settings.retry_limit_s, RETRY_LIMIT_S)})
        self._store = store
        self._wanted = load_field_map(settings.field_map, settings.own_fields)
        self._open = ExitStack()
        self._systems: RemoteSystems | None = None
        self._opened_at_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def sign_in(self) -> None:
        """Connect to both systems, so that the first request need not wait for that; two calls.

        Raises: CycleRunning, StorageFailed, ApiError.
        """
        with CycleLock(self._settings.lock_file, is_cycle=False), Warehouse(self._settings.working_file) as warehouse:
            require_same_systems(warehouse, self._settings)
            systems = self._connected(warehouse)
        systems.dynamics.who_am_i()
        systems.marketo.start_of_feed(utc_now())

    def serve(self, *, looks_at_lists: bool = False) -> str | None:
        """One turn under the cycle lock, of 300 requests at most; returns why some requests wait, or None. None is served in a
        pause, and none in shadow.

        Raises: CycleRunning (the cycle serves them at its end), StorageFailed, SettingsWrong.
        """
        settings, store = self._settings, self._store
        if settings.is_shadow:
            return IN_SHADOW
        if held := read_pause(settings.data_dir):
            return f"{held} What is queued is kept until then."
        with CycleLock(settings.lock_file, is_cycle=False), Warehouse(settings.working_file) as warehouse:
            with warehouse.reading() as connection:
                n_whole = scalar(connection, "select count(*) from ledger.cycles where is_whole")
                if not n_whole or is_to_be_read_again(connection):
                    return NOT_YET
                fields = followed_fields(connection, self._wanted)
            require_same_systems(warehouse, settings)
            systems = self._connected(warehouse)
            before = {system: systems.n_calls(system) for system in SYSTEMS}
            try:
                failure = None
                if looks_at_lists:
                    failure = look_at_lists(store, systems.marketo, settings, warehouse.now())
                serving = Serving(warehouse, systems, settings, fields, store, is_in_cycle=False)
                return serving.serve(MOST_REQUESTS) or failure
            finally:
                with warehouse.transaction() as connection:
                    calls: dict[str, int] = {system: systems.n_calls(system) - before[system] for system in SYSTEMS}
                    count_between(connection, warehouse.now(), calls)

    def _connected(self, warehouse: Warehouse) -> RemoteSystems:
        if self._systems is None or time.monotonic() - self._opened_at_s > LONGEST_OPEN_S:
            self._open.close()
            with warehouse.reading() as connection:
                used = {system: calls_of_last_day(connection, system, warehouse.now()) for system in SYSTEMS}
            self._systems = self._open.enter_context(RemoteSystems(self._settings, used))
            self._opened_at_s = time.monotonic()
        return self._systems


def carry_out(settings: Settings, wishes: Sequence[Wish], command: Action) -> tuple[list[Request], str | None]:
    """Keep the wishes of a command and serve them, if no cycle runs; how they stand then, in order, and why some wait.

    Raises: SettingsWrong, StorageFailed.
    """
    settings.require_systems()
    make_data_dir(settings)
    with RequestStore(settings.requests_file) as store, Desk(settings, store) as desk:
        taken = store.ask(wishes, utc_now().replace(tzinfo=None), command)
        try:
            waiting = desk.serve()
        except CycleRunning as error:
            waiting = f"{error.message} What is queued is kept, and served when that has ended."
        return [store.request(each) for each in taken], waiting
