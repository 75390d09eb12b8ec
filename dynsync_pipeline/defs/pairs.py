"""What several pairs are to Dagster: a partition each, and runs that bear their names.

Not here: which pairs there are (`settings_sources.py`), when one is due (`look/pairs.py`), who starts cycles (`pair_sensor.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import dagster as dg

from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_installation, load_pairs

PAIRS = dg.DynamicPartitionsDefinition(name="pairs")
PAIR_TAG = "dagster/partition"  # Dagster's own, which the run queue limits to one run a pair (`development.py`)
PAIRS_TAG = "dynsync/pairs"  # of a run that several pairs share: their names, with commas between
WORKERS = 8
LIMIT_S = 40.0  # a sensor's tick has a minute
TOLD = 5


def of_pairs(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The same assets with a partition for each pair."""
    return [each.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=PAIRS)) for each in assets]


def pairs_of(tags: Mapping[str, str]) -> list[str]:
    """The pairs that a run with these tags works for."""
    named = [tags.get(PAIR_TAG), *tags.get(PAIRS_TAG, "").split(",")]
    return [name for name in named if name]


class Rounds:
    """Does something for every pair beside the cycles, side by side, so that one that hangs holds up no other.

    What has not ended when a round is over goes on, and is not begun again before it ended.
    """

    def __init__(self, work: Callable[[Settings], str]) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(WORKERS, "pair")
        self._begun: dict[str, Future[str]] = {}

    def go(self, log: Callable[[str], None]) -> str:
        """One round; what came of it as a sentence. Errors go to `log`, with the pair's name. Raises: SettingsWrong."""
        told: dict[str, str] = {}
        for name, found in load_pairs(load_installation()).items():
            if not isinstance(found, Settings):
                told[name] = str(found)
            elif name not in self._begun:
                self._begun[name] = self._pool.submit(self._work, found)
        wait(self._begun.values(), LIMIT_S)
        for name, future in list(self._begun.items()):
            if future.done():
                del self._begun[name]
                told[name] = _outcome(name, future, log)
        told |= dict.fromkeys(self._begun, "Not done yet.")
        return summed_up(told)


def summed_up(told: Mapping[str, str]) -> str:
    """What was told of each pair, in one line: how many share a sentence, and whose the rare ones are."""
    parts = []
    for sentence, n in Counter(told.values()).most_common(TOLD):
        names = [name for name, each in told.items() if each == sentence]
        parts.append(f"{', '.join(names) if n <= TOLD else f'{n:,} pairs'}: {sentence}")
    left = len(told) - sum(n for _, n in Counter(told.values()).most_common(TOLD))
    return " ".join([*parts, *([f"And {left:,} more pairs."] if left else [])]) or "There are no pairs."


def _outcome(name: str, future: Future[str], log: Callable[[str], None]) -> str:
    error = future.exception()
    if error is None:
        return future.result()
    # Of an unforeseen error only the kind is told: its message may quote a record.
    sentence = str(error) if isinstance(error, DynSyncError) else f"{type(error).__name__}: an error inside DynSync."
    log(f"Pair {name}: {sentence}")
    return sentence
