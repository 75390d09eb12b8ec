"""On a cluster, the nearest that one machine has: a standalone master and a worker of PySpark's own jars, each a process.

What it does not have: a network in between, and folders that only some of them reach.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dynsync_pipeline_tests.spark.asking import (
    LONGEST_S,
    QUICK,
    asked,
    below,
    content,
    environment,
    found,
    kept,
    left,
    wait_for,
)
from dynsync_pipeline_tests.worlds.ports import free_port

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy
# Of so few rows, Java's second compiler takes longer than the rows themselves.
FLAGS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
CONFIGURED = (
    f"{QUICK}spark.sql.shuffle.partitions 2\nspark.executor.memory 512m\nspark.executor.extraJavaOptions {FLAGS}\n"
)
ANY_VALUE = "🦊".encode()


class Cluster:
    """A master; `working` starts a worker with one processor, whose files go below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.master = f"spark://{self.address}"

    @contextmanager
    def leading(self) -> Iterator[None]:
        host, port = self.address.split(":")
        with self._java("master.Master", "--host", host, "--port", port, "--webui-port", "0"):
            wait_for(self._listens)
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        size = ("--cores", "1", "--memory", "600m", "--work-dir", str(self.folder / "work"))
        with self._java("worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", *size, self.master):
            yield

    def _listens(self) -> bool:
        host, port = self.address.split(":")
        with closing(socket.socket()) as tried:
            return tried.connect_ex((host, int(port))) == 0

    @contextmanager
    def _java(self, name: str, *arguments: str) -> Iterator[None]:
        import pyspark

        spark = Path(pyspark.__file__).parent
        own = {"SPARK_HOME": str(spark), "SPARK_LOCAL_DIRS": str(self.folder / "local"), "SPARK_LOCAL_IP": "127.0.0.1"}
        own |= {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": FLAGS, "SPARK_LAUNCHER_OPTS": FLAGS}
        command = [str(spark / "bin/spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            running = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log, cwd=self.folder)
        try:
            yield
        finally:
            running.terminate()
            running.wait(LONGEST_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    with cluster.leading():
        yield cluster


@pytest.fixture
def home(home: Path, tmp_path: Path) -> Path:
    home = Path(shutil.copytree(home, tmp_path / "data"))
    (home / "spark-defaults.conf").write_text(CONFIGURED)
    return home


def on(cluster: Cluster, home: Path) -> dict[str, str]:
    own = {"SPARK_LOCAL_IP": "127.0.0.1", "DYNSYNC_AUDIT_ENGINE": "spark", "DYNSYNC_SPARK_MASTER": cluster.master}
    return environment(home) | own | {"COLUMNS": "400"}


def run(home: Path, environment: Mapping[str, str], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = [sys.executable, "-c", code, *arguments]
    return subprocess.run(python, env=environment, cwd=home, capture_output=True, text=True, check=False)


def test_where_no_worker_has_room_a_sentence_says_so_in_the_end(cluster: Cluster, home: Path) -> None:
    """The first of the file: there is no worker yet."""
    before = kept(home)
    code = (
        "from dynsync_pipeline.engines import spark_session; spark_session.ROOM_S = 2.0\n"
        "import sys; sys.argv[0] = 'dynsync'; from dynsync_pipeline.cli import main; main()"
    )
    ended = run(home, on(cluster, home), code, "audit")
    assert f"No worker of {cluster.master} made an executor within 2 s; nothing was changed." in ended.stderr
    assert (ended.returncode, left(home), kept(home)) == (1, [], before)


def test_the_daily_job_of_dagster_finds_there_what_duckdb_does_here(
    cluster: Cluster, home: Path, tmp_path: Path
) -> None:
    """Nothing is left of it, and neither logs of the cluster nor Dagster's home hold a value."""
    of_duckdb = Path(shutil.copytree(home, tmp_path / "of_duckdb"))
    assert asked(of_duckdb, "audit").returncode == 1
    dagster = tmp_path / "dagster"
    dagster.mkdir()
    (dagster / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    job = ("job", "execute", "-m", "dynsync_pipeline.definitions", "-j", "daily_audit")
    with cluster.working():
        with_home = on(cluster, home) | {"DAGSTER_HOME": str(dagster)}
        ended = run(home, with_home, "from dagster._cli import main; main()", *job)
        assert ended.returncode == 0, ended.stderr
        wait_for(lambda: not found(cluster.folder, "local/*/executor-*"))
    assert kept(home) == kept(of_duckdb)
    assert left(home) == []
    (executor,) = cluster.folder.glob("work/*/*/stderr")
    assert " INFO " not in executor.read_text()
    logs = [*below(cluster.folder), *below(dagster)]
    assert [str(file) for file in logs if ANY_VALUE in content(file)] == []
