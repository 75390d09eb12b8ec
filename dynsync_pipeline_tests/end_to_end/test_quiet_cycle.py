"""What a cycle that finds nothing to do needs of a new process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

_LOADED = (
    "import sys; from dynsync_pipeline.cli import main; sys.argv = ['dynsync', 'sync']\n"
    "try: main()\n"
    "except SystemExit: pass\n"
    "print([name for name in ('cryptography', 'numpy', 'pandas', 'pyarrow') if name in sys.modules], file=sys.stderr)"
)


@story
def test_a_cycle_that_reads_no_row_loads_no_arrow(make_world: Callable[..., HttpWorld]) -> None:
    """It would take a tenth of it, and 45 MB. Certificates are for those who sign in by one."""
    world = make_world()
    world.sync()
    with world.writes_nothing():
        told = subprocess.run(
            [sys.executable, "-c", _LOADED],
            env=world.environment_with(),
            cwd=world.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    assert told.splitlines()[-1] == "[]", told
