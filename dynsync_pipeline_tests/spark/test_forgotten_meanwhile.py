"""Whoever is forgotten while Spark is at work is in nothing that comes back, whatever executors still write."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynsync_pipeline.engines.on_spark import SparkEngine
from dynsync_pipeline.errors import EngineFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.forget import forget
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import RESULTS
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.leftovers import own_folder
from dynsync_pipeline_tests.publish.parquet_reading import require_true
from dynsync_pipeline_tests.spark.both_engines import AUDIT
from dynsync_pipeline_tests.worlds.kept import KeptWorld

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy
WHO, OTHER = (f"aaaaaaaa-0000-4000-8000-00000000000{number}" for number in range(2))
FOUND = "select dynamics_id from audit_findings order by 1"


def test_who_is_forgotten_meanwhile_is_neither_shown_nor_kept(spark: SparkSession, tmp_path: Path) -> None:
    world = KeptWorld()
    folder = world.settings.data_dir / "parquet"
    for record_id in (WHO, OTHER):
        world.link(RecordType.CONTACT, record_id, title="A")
    world.settled()
    world.allow(parquet_dir=folder)
    with world.open() as warehouse:
        with warehouse.transaction() as connection:
            connection.execute("update mirror.marketo_people set title = 'B'")
        manifest = publish_parquet(warehouse, world.settings, is_wanted_now=True)
    assert manifest is not None

    def looking() -> AbstractContextManager[Warehouse]:
        return world.open()

    with own_folder(folder, RESULTS) as results:
        engine = SparkEngine(spark.newSession(), folder, manifest, results, world.settings.data_dir, looking)
        engine.run_steps(AUDIT)
        assert engine.rows(FOUND, "audit_findings").fetchall() == [(WHO,), (OTHER,)]
        written_later = shutil.copytree(results, tmp_path / "results")
        forget(world.settings, WHO, utc_now(), blocks=True)
        with pytest.raises(EngineFailed, match="somebody was forgotten meanwhile"):
            engine.rows(FOUND, "audit_findings")
        with pytest.raises(EngineFailed, match="somebody was forgotten meanwhile"), engine.keeping("audit_findings"):
            raise AssertionError("there is nothing to keep")
        with pytest.raises(EngineFailed, match="nothing was changed"):
            engine.run_steps(AUDIT)
        shutil.copytree(written_later, results, dirs_exist_ok=True)
        assert engine.rows(FOUND, "audit_findings").fetchall() == [(OTHER,)]
        with engine.keeping("audit_findings") as (connection, _):
            assert connection.execute(FOUND).fetchall() == [(OTHER,)]
        engine.close()
    assert list(folder.glob(RESULTS)) == []
    with world.open() as warehouse:
        require_true(warehouse, folder)
