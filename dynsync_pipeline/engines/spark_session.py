"""A Spark session for one question, and nothing left behind: the extra, Java, memory, files, errors without values.

Not here: what runs in it (`on_spark.py`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.errors import EngineFailed
from dynsync_pipeline.warehouse.connection import OWNERS_FOLDER, storage_errors

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark.sql import SparkSession

IN_THIS_PROCESS = "local"  # masters that begin so need no cluster
DRIVER_MEMORY = "2g"  # of a local session; that of a cluster is the business of its spark-defaults.conf
_LOCK = "lock"
_LOG = """
status = off
appender.none.type = Null
appender.none.name = none
rootLogger.level = off
rootLogger.appenderRef.none.ref = none
"""


@contextmanager
def session(master: str, folder: Path) -> Iterator[SparkSession]:
    """A session at `master`, whose own files go below `folder` and with it. Raises: EngineFailed, StorageFailed."""
    with own_folder(folder, "*") as scratch, _java(_options(master, scratch)) as gateway, spark_errors():
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        logging.getLogger("SQLQueryContextLogger").disabled = True  # it prints whole statements
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")  # of which nothing is used here
        spark = SparkSession(SparkContext(gateway=gateway))
        try:
            yield spark
        finally:
            with suppress(Exception):
                spark.stop()


@contextmanager
def spark_errors() -> Iterator[None]:
    """Turn what Spark and its Java say into `EngineFailed`, by kind alone: the text may quote values."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, ConnectionError, EOFError) as error:
        raise EngineFailed(
            f"Spark did not finish ({_kind(error)}); nothing was changed.",
            next_step="Try again; if it ends so again, give it more memory or another --master, or leave out --engine.",
        ) from None


def _kind(error: BaseException) -> str:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    said = error.getCondition() if isinstance(error, PySparkException) else None
    if said is None and isinstance(error, Py4JJavaError):
        with suppress(Exception):  # a Java that is gone does not tell its own class
            said = str(error.java_exception.getClass().getName())
    return said or type(error).__name__


@contextmanager
def _java(options: dict[str, str]) -> Iterator[JavaGateway]:
    """Spark's Java with these options. It ends with this, also where it was killed. Raises: EngineFailed."""
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.java_gateway import launch_gateway

    # What Java says by itself, such as the trace of a thread, may quote values; what fails is an error here.
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        gateway = launch_gateway(SparkConf(loadDefaults=False).setAll(list(options.items())), silent)
    except PySparkException:
        raise EngineFailed(
            "Spark's Java did not start.",
            next_step="Install Java 17 or later, on Debian openjdk-17-jre-headless, or name it in JAVA_HOME.",
        ) from None
    try:
        yield gateway
    finally:  # PySpark ends it with the process alone
        with suppress(Exception):
            gateway.shutdown()
        gateway.proc.stdin.close()  # at which it ends
        gateway.proc.wait(timeout=30)
        SparkContext._gateway = SparkContext._jvm = None


def _options(master: str, scratch: Path) -> dict[str, str]:
    log = scratch / "log4j2.properties"
    log.write_text(_LOG)
    java = f'"-Djava.io.tmpdir={scratch}" -XX:-UsePerfData -Dlog4j2.configurationFile={log.as_uri()}'
    options = {
        "spark.master": master,
        "spark.app.name": "DynSync",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.extraJavaOptions": java,
        # What the rule files take for granted: all times are UTC without a zone, and what is no value is an error.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        "spark.sql.ansi.enabled": "true",
        # What a file is on disk says little of what it is in memory: which side is small is found out while it runs.
        "spark.sql.autoBroadcastJoinThreshold": "-1",
        "spark.sql.adaptive.autoBroadcastJoinThreshold": "10MB",
    }
    if master.startswith(IN_THIS_PROCESS):
        options |= {"spark.driver.memory": DRIVER_MEMORY, "spark.sql.shuffle.partitions": "16"}
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    return options


@contextmanager
def own_folder(parent: Path, pattern: str) -> Iterator[Path]:
    """A folder of this process in `parent`, with an id for the star; those of processes that were killed are removed first.

    Raises: StorageFailed.
    """
    with storage_errors(parent):
        parent.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
        for other in parent.glob(pattern):
            _remove_if_left(other)
        folder = parent.absolute() / pattern.replace("*", str(uuid.uuid4()))
        folder.mkdir(mode=OWNERS_FOLDER)
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others are still in it
            parent.rmdir()


def _remove_if_left(folder: Path) -> None:
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # its process lives
    finally:
        os.close(lock)
