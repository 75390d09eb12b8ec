"""Both engines make the same tables of people whom Hypothesis makes up, and of the demo's.

Not here: of one made-up people, file by file and trap by trap (`test_same_on_both.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dynsync_pipeline.look.whatif import decide_otherwise
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import Manifest
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.spark.both_engines import ADOPTION, AUDIT, OUTCOMES, WHATIF, BothEngines, made_by, propose
from dynsync_pipeline_tests.spark.made_up import FIELDS, NOW, MadeUp, turned

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy
HELD_BY_NOBODY = pa.table(
    {
        "person_id": pa.array([], pa.int64()),
        "id_field": pa.array([], pa.string()),
        "dynamics_id": pa.array([], pa.string()),
    }
)


@given(seed=st.integers(0, 2**32), texts=st.lists(st.text(max_size=8), min_size=30, max_size=60))
@settings(
    max_examples=int(os.environ.get("EXAMPLES", "2")),
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_of_any_people_both_make_the_same(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, seed: int, texts: list[str]
) -> None:
    engines = BothEngines(spark, *MadeUp(seed, texts).published(tmp_path_factory.mktemp("any")))
    engines.run_steps(AUDIT)
    assert engines.differences(made_by(AUDIT)) == {}
    decide_otherwise(engines, turned(FIELDS.fields), None, NOW)
    assert engines.differences(("outcomes_now", *made_by((*WHATIF, *OUTCOMES)))) == {}
    propose(engines, FIELDS, HELD_BY_NOBODY)
    assert engines.differences(made_by(ADOPTION)) == {}
    engines.close()


def test_of_the_demos_people_both_make_the_same(spark: SparkSession, tmp_path: Path) -> None:
    """Of them as they are, and as an adoption finds them, when no person bears a key."""
    demo = [str(Path(sys.executable).with_name("dynsync")), "demo", "--data", str(tmp_path / "demo")]
    subprocess.run(demo, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chosen = Settings(data_dir=tmp_path / "demo")
    fields = load_field_map(chosen.field_map, chosen.own_fields)
    with Warehouse(chosen.working_file) as warehouse:
        engines = BothEngines(spark, *published(warehouse, chosen, tmp_path / "synced"))
        engines.run_steps(AUDIT)
        assert engines.differences(made_by(AUDIT)) == {}
        assert engines.n_rows("compared_links") > 9_000
        decide_otherwise(engines, turned(fields.fields), None, warehouse.now())
        assert engines.differences(("outcomes_now", *made_by((*WHATIF, *OUTCOMES)))) == {}
        assert engines.n_rows("other_outcomes") > 0
        engines.close()
        with warehouse.transaction() as connection:
            connection.execute("delete from state.links; delete from state.parquet")
            connection.execute("update mirror.marketo_people set dynamics_contact_id = null, dynamics_lead_id = null")
        engines = BothEngines(spark, *published(warehouse, chosen, tmp_path / "adopted"))
        propose(engines, fields, HELD_BY_NOBODY)
        assert engines.differences(made_by(ADOPTION)) == {}
        assert engines.n_rows("proposed_pairs") > 9_000
        engines.close()


def published(warehouse: Warehouse, chosen: Settings, folder: Path) -> tuple[Path, Manifest]:
    manifest = publish_parquet(warehouse, chosen.model_copy(update={"parquet_dir": folder}), is_wanted_now=True)
    assert manifest is not None
    return folder, manifest
