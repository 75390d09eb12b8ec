"""A Spark session for one question, and nothing left behind: the extra, Java, memory, files, errors without values.

Not here: what runs in it (`on_spark.py`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.errors import EngineFailed
from dynsync_pipeline.warehouse.connection import OWNERS_FOLDER, storage_errors

if TYPE_CHECKING:
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
    with own_folder(folder, "*") as scratch, spark_errors():
        spark = _opened(master, scratch)
        try:
            yield spark
        finally:
            _close(spark)


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


def _opened(master: str, scratch: Path) -> SparkSession:
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    logging.getLogger("SQLQueryContextLogger").disabled = True  # it prints whole statements
    log = scratch / "log4j2.properties"
    log.write_text(_LOG)
    java = f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData -Dlog4j2.configurationFile={log.as_uri()}"
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
    builder = SparkSession.builder
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        if error.getCondition() == "JAVA_GATEWAY_EXITED":
            raise EngineFailed(
                "Spark's Java did not start.",
                next_step="Install Java 17 (on Debian: apt-get install openjdk-17-jre-headless), or name it in JAVA_HOME.",
            ) from None
        raise


def _close(spark: SparkSession) -> None:
    """End the session and its Java, also one that was killed."""
    gateway = spark.sparkContext._gateway  # PySpark ends its Java with the process alone
    with suppress(Exception):
        spark.stop()
    if gateway is not None:
        from pyspark import SparkContext

        with suppress(Exception):
            gateway.shutdown()
        process = getattr(gateway, "proc", None)
        if process is not None:
            process.stdin.close()  # at which it ends
            process.wait(timeout=30)
        SparkContext._gateway = SparkContext._jvm = None


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
