"""One Spark for all tests that need it; they are `make test-spark`'s, and no others ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynsync_pipeline.engines.spark_session import session
from dynsync_pipeline_tests.spark.asking import make_home
from dynsync_pipeline_tests.spark.both_engines import QUICK_JAVA

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session of two threads."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK_JAVA.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("spark")
        with session("local[2]", folder, folder) as opened:
            yield opened


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder to copy before anything is asked of it."""
    return make_home(tmp_path_factory.mktemp("home"))
