"""Runs Dagster for `make dev`: a home with history and limits under the data folder, the UI and the daemon on loopback.

Not here: which systems it syncs with; whoever calls hands in the environment (of the emulators, if no system is named).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from dynsync_pipeline.errors import PortTaken
from dynsync_pipeline.settings import Settings

HOST = "127.0.0.1"
PORT = 3000
STOP_LIMIT_S = 60.0


def require_free_port(port: int) -> None:
    """Raise PortTaken where the UI could not listen: Dagster would go on without it, and sync beside the other one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"Dagster's UI cannot listen on {HOST}:{port}: {error.strerror}. Nothing was started.",
                next_step="End the program that uses the port, maybe another `dynsync dev`, or name another one with --port.",
            ) from None


POSTGRES_URL = "DAGSTER_POSTGRES_URL"
_POSTGRES = f"""
# Runs, events and schedules in a database of their own, at the address in the environment; with the extra `postgres`.
storage:
  postgres:
    postgres_url:
      env: {POSTGRES_URL}
"""


_PER_PAIR = """
    # One run a pair; runs that quiet pairs share are kept apart by the sensor, and all of them by the cycle locks.
    tag_concurrency_limits:
      - key: dagster/partition
        value:
          applyLimitPerUniqueValue: true
        limit: 1"""
_SIDE_BY_SIDE = """
# The other sensors look at all pairs, too, and hold up no cycle meanwhile.
sensors:
  use_threads: true
  num_workers: 4
  num_submit_workers: 4

# A run is launched once its process answers, which takes seconds; several are, at a time.
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_use_threads: true
    dequeue_num_workers: 4
"""


def prepare_home(settings: Settings, *, has_postgres: bool | None = None) -> Path:
    """Make Dagster's home in the data folder, with our `dagster.yaml`; returns its absolute path. Raises: OSError.

    `has_postgres`: whether its storage is PostgreSQL; None: as it was.
    """
    home = (settings.data_dir / "dagster").resolve()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    template = Template(files("dynsync_pipeline.defs").joinpath("dagster.yaml").read_text("utf-8"))
    file = home / "dagster.yaml"
    if has_postgres is None:
        has_postgres = file.exists() and POSTGRES_URL in file.read_text("utf-8")
    has_pairs = settings.pairs_dir is not None
    text = template.substitute(
        cycle_limit_s=round(settings.cycle_limit_s),
        at_once=settings.cycles_at_once if has_pairs else 1,
        per_pair=_PER_PAIR if has_pairs else "",
    )
    file.write_text(text + (_SIDE_BY_SIDE if has_pairs else "") + (_POSTGRES if has_postgres else ""), "utf-8")
    return home


def run_dagster(settings: Settings, environment: Mapping[str, str], *, port: int = PORT) -> int:
    """Serve Dagster's UI and daemon until Ctrl-C or SIGTERM, then end both and any run; returns an exit code.

    `environment` is added to this process's own for all runs. Raises: OSError if the home cannot be written.
    """
    home = prepare_home(settings)
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-m",
        "dynsync_pipeline.definitions",
        "-h",
        HOST,
        "-p",
        str(port),
        "--log-level",
        "warning",  # of the services; what a cycle does stands in its run
    ]
    quiet = {
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"
    }  # of `dagster dev`, which `dg dev` calls as well
    # Whoever started this process in the background may have made it ignore Ctrl-C, which its children would inherit.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A session of its own, so that one signal reaches the services and the run in progress, and nothing else.
    services = subprocess.Popen(  # noqa: S603
        command, env={**os.environ, **quiet, **environment, "DAGSTER_HOME": str(home)}, start_new_session=True
    )
    try:
        return services.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop(services)


def _stop(services: subprocess.Popen[bytes]) -> None:
    """End the whole session: politely, so that a cycle gives its lock back, and for certain."""
    for number, wait_s in ((signal.SIGINT, STOP_LIMIT_S), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(services.pid, number)
            services.wait(wait_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
