"""Cycles of several quiet pairs in one run, one after the other: Dagster keeps for it what it keeps for one small step.

Each is a whole cycle under its own pair's lock. A pair that has something to do again is synced all the same, and gets a run
of its own next time. Not here: who shares a run (`pair_sensor.py`).
"""

import traceback

import dagster as dg

from dynsync_pipeline.defs.held import held_by
from dynsync_pipeline.errors import CycleRunning, DynSyncError
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.whole_cycle import run_cycle


@dg.op(
    config_schema={"pairs": [str]},
    description="A whole cycle of each of these pairs, one after the other; what one has wrong stops no other.",
)
def cycles_of_quiet_pairs(context: dg.OpExecutionContext) -> None:
    """Run the cycles. Raises: dagster.Failure at the end, with a sentence for each pair whose cycle failed."""
    failed = []
    for name in context.op_config["pairs"]:
        try:
            settings = load_settings(pair=name)
            if held := held_by(context.run, settings):
                context.log.info(f"Pair {name}: {held}")
                continue
            report = run_cycle(settings)
        except CycleRunning as error:  # somebody was faster
            context.log.info(f"Pair {name}: {error}")
        except DynSyncError as error:
            failed.append(f"Pair {name}: {str(error).removeprefix(f'Pair {name}: ')}")
        except Exception as error:
            # The message of an unforeseen error may quote a record, so only its kind and place are told.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            failed.append(f"Pair {name}: {type(error).__name__} in `{frame.name}`: an error inside DynSync.")
        else:
            failed += [f"Pair {name}: {sentence}" for sentence in report.failures]
            rows = sum(report.published.n_rows.values())
            context.log_event(dg.AssetMaterialization("snapshot", metadata={"rows": rows}, partition=name))
    if failed:
        raise dg.Failure("\n".join(failed), allow_retries=False)


@dg.job(
    description="Cycles of quiet pairs that are due at the same time, in one run. Started by cycle_sensor.",
    executor_def=dg.in_process_executor,
)
def quiet_job() -> None:
    """One step for all of them."""
    cycles_of_quiet_pairs()
