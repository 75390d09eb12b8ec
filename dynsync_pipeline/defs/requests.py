"""Looks at the static lists of the settings once a minute, and serves what was asked for, between two cycles (R71).

It does so itself and starts no run: Dagster keeps some 400 KB of every run. Not here: the work (`requests/desk.py`).
"""

import dagster as dg

from dynsync_pipeline.errors import CycleRunning, DynSyncError, SettingsWrong
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings, load_settings

TICK_S = 60


def build_request_sensor(settings: Settings | None = None) -> dg.SensorDefinition:
    """The sensor `request_sensor`. `settings` None: read from the environment at every tick."""

    @dg.sensor(
        name="request_sensor",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes leads and contacts in Dynamics of people who were added to the static lists in the settings, "
        "and serves requests that could not be served at once.",
    )
    def request_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            current = settings or load_settings()
            current.require_systems()
            return dg.SkipReason(_served(current))
        except CycleRunning:
            return dg.SkipReason("A cycle is running; it serves requests before it writes to Marketo.")
        except SettingsWrong as error:
            return dg.SkipReason(str(error))
        except DynSyncError as error:
            context.log.error(str(error))
            return dg.SkipReason(str(error))

    return request_sensor


def _served(settings: Settings) -> str:
    """Serve what there is to serve, and say so in a sentence."""
    if not settings.lists and not settings.requests_file.exists():
        return "No static list is looked at, and nobody has asked for a record."
    with RequestStore(settings.requests_file) as store, Desk(settings, store) as desk:
        waiting = (
            desk.serve(looks_at_lists=True)
            if settings.lists or any(each.state != "ask" for each in store.unfinished())
            else None
        )
        return waiting or f"{len(store.unfinished())} requests are waiting."
