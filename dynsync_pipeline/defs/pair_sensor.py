"""When the next cycle of each pair starts: one look at all locks a tick, one run for a pair that is due.

Quiet pairs that are due together share runs, because what a run costs Dagster is what several hundred pairs run short of.
Not here: the same for one pair (`sensors.py`), when a pair is due (`look/pairs.py`).
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg

from dynsync_pipeline.defs.jobs import sync_job
from dynsync_pipeline.defs.pairs import PAIR_TAG, PAIRS, PAIRS_TAG, pairs_of, summed_up
from dynsync_pipeline.defs.quiet import quiet_job
from dynsync_pipeline.defs.retention import MOST_RUNS, prune
from dynsync_pipeline.defs.sensors import DEAD_AFTER, TICK_S, UNFINISHED
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.look.pairs import PairState, pause_after, read_pair
from dynsync_pipeline.settings_sources import load_installation, load_pairs

SHARED = 10  # pairs of one run at most: one that hangs holds up the others in it
AHEAD = 6  # runs that may be under way or queued, for each that may run at a time: what a tick's time takes
FEWEST_KEPT = 10  # finished runs of a pair
PRUNING_S = 15.0  # of the minute that a tick has
_ALWAYS = datetime.min.replace(tzinfo=UTC)
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def build_pair_sensor() -> dg.SensorDefinition:
    """The sensor `cycle_sensor` of several pairs; their settings are read at every tick where they changed."""

    @dg.sensor(
        name="cycle_sensor",
        jobs=[sync_job, quiet_job],
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the next cycle of every pair whose pause is over, quiet ones together; removes old runs.",
    )
    def cycle_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        try:
            installation = load_installation()
            states = [read_pair(name, found, now) for name, found in load_pairs(installation).items()]
        except DynSyncError as error:
            return dg.SkipReason(str(error))
        due, told = _due(context.instance, states, now)
        n_under_way = context.instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED))
        requests = _requests(due, max(0, AHEAD * installation.cycles_at_once - n_under_way))
        if requests:
            n_pruned = _prune(context.instance, now, requests, n_pairs=len(states))
            context.log.info(f"Starting cycles in {len(requests)} runs; removed {n_pruned} old ones.")
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=_partitions(context.instance, states),
            skip_reason=None if requests else dg.SkipReason(summed_up(told)),
        )

    return cycle_sensor


def _due(
    instance: dg.DagsterInstance, states: list[PairState], now: datetime
) -> tuple[list[PairState], dict[str, str]]:
    """The pairs whose cycle is to start, who waits longest first, and a sentence on each of the others."""
    busy = _busy(instance, {each.name: each for each in states}, now)
    failed_at = _failed_at(instance, states, now)
    due, told = {}, {}
    for each in states:
        since = _waits_since(each, failed_at.get(each.name), now)
        if each.name in busy:
            told[each.name] = "A run is queued or under way."
        elif each.state == "due" and since > now:
            told[each.name] = "The last run failed; the pause is not over."
        elif each.state == "due":
            due[each.name] = since
        else:
            told[each.name] = (
                each.why or {"running": "A cycle is running.", "waiting": "The pause is not over."}[each.state]
            )
    return sorted((each for each in states if each.name in due), key=lambda each: due[each.name]), told


def _waits_since(state: PairState, failed_at: datetime | None, now: datetime) -> datetime:
    """From when on a pair that is due waits for its turn; one whose last cycle tells no time, as before the first, always.

    Everybody's turn comes before those who had theirs can wait for the next: where cycles take longer than the pauses,
    whoever is left behind once would be left behind for good.
    """
    since = state.due_at if state.due_at and state.due_at < now else _ALWAYS
    return since if failed_at is None else max(since, failed_at + _pause(state))


def _requests(due: list[PairState], most: int) -> list[dg.RunRequest]:
    """At most so many runs, in the order of those who wait: one of its own for a pair with something to do, and one of
    several quiet pairs at the place of the first of them."""
    quiet = [each for each in due if each.is_quiet]
    shares = {quiet[at].name: quiet[at : at + SHARED] for at in range(0, len(quiet), SHARED)}
    runs = [shares.get(each.name, [each]) for each in due if not each.is_quiet or each.name in shares]
    return [_request(pairs) for pairs in runs[:most]]


def _request(pairs: list[PairState]) -> dg.RunRequest:
    if len(pairs) == 1:
        return dg.RunRequest(job_name=sync_job.name, partition_key=pairs[0].name, tags=_limit(pairs))
    names = [each.name for each in pairs]
    config = {"ops": {"cycles_of_quiet_pairs": {"config": {"pairs": names}}}}
    return dg.RunRequest(job_name=quiet_job.name, run_config=config, tags={PAIRS_TAG: ",".join(names), **_limit(pairs)})


def _limit(pairs: list[PairState]) -> dict[str, str]:
    limits = [each.settings.cycle_limit_s for each in pairs if each.settings]
    return {"dagster/max_runtime": str(round(max(limits)))}


def _pause(state: PairState) -> timedelta:
    return timedelta(seconds=pause_after(state.settings, state.last) if state.settings else 0)


def _busy(instance: dg.DagsterInstance, states: dict[str, PairState], now: datetime) -> set[str]:
    """The pairs of all runs that have not ended; runs whose process is gone are ended here, and theirs are free."""
    busy: set[str] = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run, names = record.dagster_run, pairs_of(record.dagster_run.tags)
        began_at = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
        known = [states[name] for name in names if name in states]
        if run.status == dg.DagsterRunStatus.STARTED and _is_dead(known, began_at, now):
            sentence = "The process of this run is gone. The next cycle finds out what it had written."
            instance.report_run_failed(run, f"Pair {', '.join(names)}: {sentence}")
        else:
            busy.update(names)
    return busy


def _is_dead(states: Iterable[PairState], began_at: datetime, now: datetime) -> bool:
    """Whether a run has no process any more: a cycle of it was cut off, or no lock of its pairs was held for long."""
    last_seen = began_at
    for each in states:
        last = each.last
        if each.state == "running":
            return False
        if last is None:
            continue
        if last.ended_at is None and last.started_at >= began_at:
            return True
        last_seen = max(last_seen, last.ended_at or last.started_at)
    # A time far ahead is that of a clock that was set back since.
    return abs(now - last_seen) > DEAD_AFTER


def _failed_at(instance: dg.DagsterInstance, states: list[PairState], now: datetime) -> dict[str, datetime]:
    """When the last run of a pair failed, within a pause: one that never took its lock is tried once a pause."""
    longest = max((_pause(each) for each in states), default=timedelta())
    job_names = (sync_job.name, quiet_job.name)
    failed_at: dict[str, datetime] = {}
    for record in instance.get_run_records(dg.RunsFilter(statuses=FAILED, updated_after=now - longest), limit=5_000):
        if record.dagster_run.job_name in job_names:
            for name in pairs_of(record.dagster_run.tags):
                ended_at = datetime.fromtimestamp(record.end_time or record.create_timestamp.timestamp(), UTC)
                failed_at[name] = max(ended_at, failed_at.get(name, ended_at))
    return {name: ended_at for name, ended_at in failed_at.items() if ended_at <= now}


def _partitions(
    instance: dg.DagsterInstance, states: list[PairState]
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """What makes Dagster's partitions those of the folder."""
    known, there = set(instance.get_dynamic_partitions(str(PAIRS.name))), {each.name for each in states}
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if new := sorted(there - known):
        requests.append(PAIRS.build_add_request(new))
    if gone := sorted(known - there):
        requests.append(PAIRS.build_delete_request(gone))
    return requests


def _prune(instance: dg.DagsterInstance, now: datetime, requests: list[dg.RunRequest], *, n_pairs: int) -> int:
    """Remove for each run that begins what is beyond the newest few of its kind, so that as many go as come."""
    until_s = time.monotonic() + PRUNING_S
    kept = max(FEWEST_KEPT, MOST_RUNS // max(1, n_pairs))
    n_pruned = prune(instance, now, most_runs=None)
    n_pruned += prune(instance, now, job_name=quiet_job.name)
    for request in requests:
        if request.partition_key and time.monotonic() < until_s:
            n_pruned += prune(instance, now, tags={PAIR_TAG: request.partition_key}, most_runs=kept)
    return n_pruned
