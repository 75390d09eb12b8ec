"""Looks at the static lists of the settings once a minute, and serves what was asked for, between two cycles (R71).

It does so itself and starts no run: Dagster keeps some 400 KB of every run. Not here: the work (`requests/desk.py`).
"""

import dagster as dg

from dynsync_pipeline.defs.pairs import Rounds
from dynsync_pipeline.errors import CycleRunning, DynSyncError, SettingsWrong
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings

TICK_S = 60


def build_request_sensor(settings: Settings | None = None, *, has_pairs: bool = False) -> dg.SensorDefinition:
    """The sensor `request_sensor`. `settings` None: read at every tick, from the environment or, `has_pairs`, of every pair."""
    rounds = Rounds(_served) if has_pairs else None

    @dg.sensor(
        name="request_sensor",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes leads and contacts in Dynamics of people who were added to the static lists in the settings, "
        "and serves requests that could not be served at once.",
    )
    def request_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            return dg.SkipReason(rounds.go(context.log.error) if rounds else _served(settings or load_settings()))
        except SettingsWrong as error:
            return dg.SkipReason(str(error))
        except DynSyncError as error:
            context.log.error(str(error))
            return dg.SkipReason(str(error))

    return request_sensor


def _served(settings: Settings) -> str:
    """Serve what there is to serve, and say so in a sentence. Raises: DynSyncError."""
    settings.require_systems()
    try:
        return _served_between(settings)
    except CycleRunning:
        return "A cycle is running; it serves requests before it writes to Marketo."


def _served_between(settings: Settings) -> str:
    if not settings.lists and not settings.requests_file.exists():
        return "No static list is looked at, and nobody has asked for a record."
    with RequestStore(settings.requests_file) as store, Desk(settings, store) as desk:
        waiting = (
            desk.serve(looks_at_lists=True)
            if settings.lists or any(each.state != "ask" for each in store.unfinished())
            else None
        )
        return waiting or f"{len(store.unfinished())} requests are waiting."
