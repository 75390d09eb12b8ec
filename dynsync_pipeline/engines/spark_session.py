"""A Spark session for one question, and nothing left behind: the extra, Java, memory, files, errors without values.

Not here: what runs in it (`on_spark.py`).
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.engines.spark_master import IN_THIS_PROCESS
from dynsync_pipeline.errors import EngineFailed
from dynsync_pipeline.warehouse.connection import OWNER_ONLY
from dynsync_pipeline.warehouse.cycle_lock import OTHERS

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark.sql import SparkSession

DRIVER_MEMORY = "2g"  # of a local session; that of a cluster is the business of its spark-defaults.conf
ROOM_S = 300.0  # until a worker has to have room for an executor; Spark itself waits for ever
ENDS_S = 30  # what Java has to clear up, once it is told to end
_LOG = """
status = off
appender.none.type = Null
appender.none.name = none
rootLogger.level = off
rootLogger.appenderRef.none.ref = none
"""


@contextmanager
def session(master: str, scratch: Path, shared: Path) -> Iterator[SparkSession]:
    """A session at `master`. What it makes goes into `scratch`; executors reach `shared`. Raises: EngineFailed."""
    with _java(_options(master, scratch, shared)) as gateway, spark_errors():
        from pyspark import SparkContext

        logging.getLogger("SQLQueryContextLogger").disabled = True  # it prints whole statements
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")  # of which nothing is used here
        try:
            spark = _started(master, gateway)
            if not master.startswith(IN_THIS_PROCESS):
                _require_room(master, spark)
            yield spark
        finally:  # a process has one context at a time, also one that came to no session
            with suppress(Exception):
                SparkContext._active_spark_context.stop()


def _started(master: str, gateway: JavaGateway) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark import SparkContext, __version__
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    try:  # where a master does not answer, it is the session that fails
        return SparkSession(SparkContext(gateway=gateway))
    except (PySparkException, Py4JError) as error:
        raise EngineFailed(
            f"Spark did not start at {master} ({_kind(error)}); nothing was changed.",
            next_step=f"See that a master of Spark {__version__}, which is this machine's, listens there and lets it in.",
        ) from None


def _require_room(master: str, spark: SparkSession) -> None:
    """Have an executor count to one. Raises: EngineFailed, also where no worker had room for one in time."""
    is_late = threading.Event()

    def give_up() -> None:  # at cancelling alone a job that is about to be submitted would wait for ever
        is_late.set()
        spark.sparkContext.stop()

    timer = threading.Timer(ROOM_S, give_up)
    timer.start()
    try:
        with spark_errors():
            spark.range(0, 1, 1, 1).count()
    except EngineFailed:
        if not is_late.is_set():
            raise
        raise EngineFailed(
            f"No worker of {master} made an executor within {ROOM_S:.0f} s; nothing was changed.",
            next_step="See on the master's page whether workers have processors and memory left (spark.executor.memory), and "
            "whether they reach this machine (spark.driver.host).",
        ) from None
    finally:
        timer.cancel()


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
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "umask": OTHERS}
    try:
        gateway = launch_gateway(SparkConf(loadDefaults=False).setAll(list(options.items())), silent)
    except PySparkException:
        named = os.environ.get("JAVA_HOME")
        raise EngineFailed(
            "Spark's Java did not start" + (f", which JAVA_HOME names as {named}." if named else "."),
            next_step="Install Java 17 or later, on Debian openjdk-17-jre-headless; JAVA_HOME, where it is set, has to name it. "
            "`spark-submit --version` shows what Java says.",
        ) from None
    try:
        yield gateway
    finally:  # PySpark ends it with the process alone
        with suppress(Exception):
            gateway.shutdown()
        gateway.proc.stdin.close()  # at which it ends
        try:
            gateway.proc.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
        SparkContext._gateway = SparkContext._jvm = None


def _options(master: str, scratch: Path, shared: Path) -> dict[str, str]:
    log = shared / "log4j2.properties"
    log.write_text(_LOG)
    log.chmod(OWNER_ONLY)
    silent = f"-Dlog4j2.configurationFile={log.as_uri()}"
    java = f'"-Djava.io.tmpdir={scratch}" -XX:-UsePerfData {silent}'
    options = {
        "spark.master": master,
        "spark.app.name": "DynSync",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.extraJavaOptions": java,
        "spark.hadoop.fs.permissions.umask-mode": f"{OTHERS:03o}",
        "spark.executorEnv.JDK_JAVA_OPTIONS": silent,  # spark.executor.extraJavaOptions are the cluster's own
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
