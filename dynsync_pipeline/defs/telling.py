"""Looks every two minutes what somebody has to know, and tells it by the ways of `DYNSYNC_NOTIFY`.

A sensor beside the cycles, so that none of them waits for it, and cycles that never begin are told, too. Not here: what is
told (`operate/occasions.py`).
"""

import dagster as dg

from dynsync_pipeline.defs.pairs import Rounds
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.operate.notify import notify
from dynsync_pipeline.operate.occasions import kind_of
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings

TICK_S = 120


def build_notify_sensor(settings: Settings | None = None, *, has_pairs: bool = False) -> dg.SensorDefinition:
    """The sensor `notify_sensor`. `settings` None: read at every tick, from the environment or, `has_pairs`, of every pair."""
    rounds = Rounds(_told) if has_pairs else None

    @dg.sensor(
        name="notify_sensor",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the addresses of DYNSYNC_NOTIFY what somebody has to know: once, and what lasts again a day later.",
    )
    def notify_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            return dg.SkipReason(rounds.go(context.log.warning) if rounds else _told(settings or load_settings()))
        except DynSyncError as error:
            context.log.warning(str(error))
            return dg.SkipReason(str(error))

    return notify_sensor


def _told(settings: Settings) -> str:
    """Tell what there is to tell, and say so in a sentence. Raises: DynSyncError."""
    if settings.notify is None:
        return "DYNSYNC_NOTIFY names nobody to tell."
    told = notify(settings)
    return f"Told: {', '.join(kind_of(key) for key in told)}." if told else "Nothing new to tell."
