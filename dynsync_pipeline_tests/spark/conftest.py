"""One Spark for all tests that need it; they are `make test-spark`'s, and no others ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from dynsync_pipeline.engines.spark_session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session of two threads."""
    with session("local[2]", tmp_path_factory.mktemp("spark") / "scratch") as opened:
        yield opened
