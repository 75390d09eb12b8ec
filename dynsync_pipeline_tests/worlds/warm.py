"""A process that has run a cycle, imported by the one from which others are forked (`processes.py`).

The first cycle of a process imports what a cycle needs, and parses every statement: four times the work of the second one.
Whoever is forked afterwards finds that done. Of the world nothing is left, neither files nor threads.
"""

from __future__ import annotations

import os

from dynsync_pipeline.settings import PREFIX
from dynsync_pipeline_tests.worlds.memory import MemoryWorld


def _run_a_cycle() -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # of the test that happened to be the first to fork
    world = MemoryWorld(publishes=True)
    world.cycle()
    world.warehouse.close()


_run_a_cycle()
