"""Looks every two minutes what somebody has to know, and tells it by the ways of `DYNSYNC_NOTIFY`.

A sensor beside the cycles, so that none of them waits for it, and cycles that never begin are told, too. Not here: what is
told (`operate/occasions.py`).
"""

import dagster as dg

from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.operate.notify import notify
from dynsync_pipeline.operate.occasions import kind_of
from dynsync_pipeline.settings import Settings, load_settings

TICK_S = 120


def build_notify_sensor(settings: Settings | None = None) -> dg.SensorDefinition:
    """The sensor `notify_sensor`. `settings` None: read from the environment at every tick."""

    @dg.sensor(
        name="notify_sensor",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the addresses of DYNSYNC_NOTIFY what somebody has to know: once, and what lasts again a day later.",
    )
    def notify_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            current = settings or load_settings()
            if current.notify is None:
                return dg.SkipReason("DYNSYNC_NOTIFY names nobody to tell.")
            told = notify(current)
        except DynSyncError as error:
            context.log.warning(str(error))
            return dg.SkipReason(str(error))
        return dg.SkipReason(f"Told: {', '.join(kind_of(key) for key in told)}." if told else "Nothing new to tell.")

    return notify_sensor
