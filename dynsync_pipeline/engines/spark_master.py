"""The address of a Spark master: what it may look like, and whether anything listens there. Imports nothing of the extra.

Spark itself tries a standalone master for a minute, which no setting shortens, and its error names no cause; a name that nobody
knows and a port that is closed are told at once instead. Not here: the session (`spark_session.py`).
"""

from __future__ import annotations

import re
import socket

from dynsync_pipeline.errors import EngineFailed, SettingsWrong

IN_THIS_PROCESS = "local"  # masters that begin so need no cluster
STANDALONE = "spark://"  # and may name several, of which one leads
ANSWERS_S = 10.0
# https://spark.apache.org/docs/latest/submitting-applications.html#master-urls
_MASTER = re.compile(r"local(\[[^]]+\])?|local-cluster\[[^]]+\]|spark://[^\s,]+:\d+(,[^\s,]+:\d+)*|k8s://\S+|yarn")


def require_master(master: str) -> None:
    """Refuse what is no master, and a standalone one where nobody listens. Raises: SettingsWrong, EngineFailed."""
    if not _MASTER.fullmatch(master):
        raise SettingsWrong(
            f"{master} is no Spark master.",
            next_step="Say --master, or DYNSYNC_SPARK_MASTER, as local[*], spark://HOST:7077, k8s://HOST:PORT or yarn.",
        )
    if master.startswith(STANDALONE):
        obstacles = [_obstacle(address) for address in master.removeprefix(STANDALONE).split(",")]
        if all(obstacles):
            raise EngineFailed(
                f"There is no Spark master at {master}: {obstacles[0]}. Nothing was changed.",
                next_step="See that it runs, and give its address as its own page shows it.",
            )


def _obstacle(address: str) -> str | None:
    """Why nobody can be reached there; None where somebody listens."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_S).close()
    except (socket.gaierror, UnicodeError):
        return f"nobody knows the name {host}"
    except TimeoutError:
        return f"{host} does not answer within {ANSWERS_S:.0f} s"
    except OverflowError:
        return f"{port} is no port"
    except OSError as error:
        return f"port {port} of {host} cannot be reached ({error.strerror})"
    return None
