"""Both engines make the same tables of the same files, whatever people entered; a rule that changes, changes on both.

Not here: of any people, and of the demo's (`test_any_people.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from dynsync_pipeline import sql_files
from dynsync_pipeline.engines import on_spark as engine_module
from dynsync_pipeline.look.whatif import other_outcomes
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.sql_files import sql_file
from dynsync_pipeline_tests.spark.both_engines import ADOPTION, AUDIT, OUTCOMES, WHATIF, BothEngines, made_by, propose
from dynsync_pipeline_tests.spark.made_up import FIELDS, NOW, MadeUp, turned

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]  # a machine may be busy
TEXTS = [
    "a", "A ", "é", "e\u0301", "ß", "Σας", "ΟΔΟΣ", "İ", "🦊", '"', "'", "\\", "\n", "\r", " 1", "1e5", "1.50", "-0",
    "1_000", "0x1",
    "9" * 28, "9" * 29, "9" * 40, "x@y.z", " X@Y.Z", "%", "_", "\t", "nan", "inf", "2026-1-1", "2026-02-30", "0001-01-01",
    "0000-01-01", "10000-01-01", "1752-12-31", "1753-01-01", "2026-03-29", "2026-03-29T02:30:00Z", "2026-02-30T00:00:00Z",
    "2026-03-29T25:00:00Z", "1;2", "One", "Two, or so; One", "Two; or so", "?", "?x", "+5", "true", "TRUE", "5e-11",
]  # fmt: skip
WORDS = {"dynamics_wins", "marketo_wins", "review", "to_marketo", "to_dynamics", "nothing"}
NO_CYCLE = {
    "this_cycle": "select timestamp '2026-03-29 01:30:00' as planned_at, interval 0 second as clocks_apart, "
    "false as is_first_load, 5::bigint as ask_above",
    "overwritten_fields": "select *, false as is_carried_over from differing_fields where false",
}


@pytest.fixture(scope="module")
def engines(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothEngines]:
    """Both over people with any of these texts, all decided, and an adoption proposed."""
    engines = BothEngines(spark, *MadeUp(7, TEXTS).published(tmp_path_factory.mktemp("made_up")))
    engines.run_steps(AUDIT)
    for name, query in NO_CYCLE.items():
        engines.make(name, query)
    engines.run_steps(OUTCOMES)
    draw = random.Random(5)
    held = {
        "person_id": pa.array([draw.randrange(160) for _ in range(60)], pa.int64()),
        "id_field": [draw.choice("ab") for _ in range(60)],
        "dynamics_id": [f"r{draw.randrange(160)}" for _ in range(60)],
    }
    propose(engines, FIELDS, pa.table(held))
    yield engines
    engines.close()


def test_the_audit_finds_and_the_rules_decide_the_same(engines: BothEngines) -> None:
    assert engines.differences(made_by((*AUDIT, *OUTCOMES))) == {}
    assert engines.n_rows("differing_fields") > 200
    codes = engines.duckdb.execute("select count(distinct code) from audit_findings").fetchall()
    rules = engines.duckdb.execute(
        "select count(distinct rule_code), count(distinct refusal_code) from decided_fields"
    ).fetchall()
    assert codes >= [(6,)], "many kinds of findings"
    assert rules[0][0] >= 12, "many rules"
    assert rules[0][1] >= 5, "many reasons why a column takes no value"


def test_adoption_proposes_the_same(engines: BothEngines) -> None:
    assert engines.differences(made_by(ADOPTION)) == {}
    assert engines.duckdb.execute("select count(distinct match) from proposed_pairs").fetchall() >= [(2,)]


# The last file first: no other one of these reads what a damaged one made.
DAMAGES = {
    "proposed_pairs": ("when a.n_people > 1", "when a.n_people > 2"),
    "audit_findings": ("where not r.is_deleted\n)", "where r.is_deleted\n)"),
    "field_outcomes": ("when record_type = 'lead' then 'collision_m", "when record_type = 'contact' then 'collision_m"),
    "differing_fields": ("\n   or with_base.base_value is distinct from with_base.marketo_value", ""),
    "all_links": ("l.person_id and not m.is_deleted", "l.person_id"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_rule_that_is_damaged_makes_other_rows_on_both_alike(
    engines: BothEngines, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    step, (rule, other) = f"reconcile/{name}", DAMAGES[name]
    file = sql_file(step)
    assert file.text.count(rule) == 1
    damaged = replace(file, text=file.text.replace(rule, other))
    made = list(file.makes)[-1] if name != "field_outcomes" else "field_outcomes"
    before = engines.duckdb.execute(f"from {made} order by all").fetchall()
    with monkeypatch.context() as patch:
        for module in (sql_files, engine_module):
            patch.setattr(module, "sql_file", lambda _: damaged)
        engines.run_steps([step])
    assert engines.duckdb.execute(f"from {made} order by all").fetchall() != before
    assert engines.differences(file.makes) == {}


def test_by_other_rules_the_past_and_what_differs_come_out_the_same(engines: BothEngines) -> None:
    since = NOW - timedelta(days=6)
    found = other_outcomes(engines, FieldMap(tuple(turned(FIELDS.fields))), since, NOW)
    assert engines.differences(("outcomes_now", *made_by((*WHATIF, *OUTCOMES)))) == {}
    assert len(WORDS & {row["outcome_then"] for row in found}) >= 4, "many ways out"
    for is_past, n_least in ((True, 5), (False, 3)):
        codes = {row["rule_code"] for row in found if bool(row["collision_id"]) is is_past}
        assert len(codes) >= n_least, (is_past, codes)
    assert min(row["settled_at"] for row in found if row["collision_id"]) >= since


TRAPS = {
    "a value that moved between columns": "select count(distinct hash(*columns(*))) as trap from moved",
    "times in other zones, also those that summer time leaves out": """
        select utc_time(try_cast(text as timestamp), zone) as trap from texts, zones
        where regexp_full_match(text, '[0-9]{4}-[0-9]{2}-[0-9]{2}')""",
    "a day of a user-local column": """
        select kept_time(text, 'date', 'UserLocal', zone) < '1753' as trap from texts, zones
        where regexp_full_match(text, '[0-9]{4}-[0-9]{2}-[0-9]{2}')""",
    "borders of seconds between two times": """
        select date_diff('second', a.at, b.at) as trap from moments a, moments b""",
    "division of whole numbers": "select n // 28 as trap from numbers",
    "letters": "select lower(trim(text)) as trap from texts",
    "a whole text, also of several lines": "select regexp_full_match(text, '-?[0-9]+') as trap from texts",
    "what is no number": """
        select try_cast(text as decimal(38, 10)) is null as trap, try_cast(text as double) > 1.5 as much from texts""",
    "what is no date or time": """
        select text, regexp_full_match(text, '[0-9]{4}-[0-9]{2}-[0-9]{2}') and try_cast(text as date) is null as trap
        from texts""",
    "what is no moment": """
        select text, regexp_full_match(text, '[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}Z')
            and try_cast(text as timestamptz) is null as trap
        from texts""",
    "a share of a whole number": "select 1.5 * n <= m as trap, n <= 20 * 60 as less from numbers",
    "decimals of two widths in one column": """
        select try_cast(text as decimal(38, 10)) as trap from texts
        union all
        select try_cast(text as decimal(4, 1)) from texts""",
    "the order in a list of texts": """
        select array_to_string(list_slice(list_sort(list(text)), 1, 10), ', ') as trap from texts where text is not null""",
    "lengths in UTF-16": """
        select length(text) + length(regexp_replace(text, '[^\\x{10000}-\\x{10FFFF}]', '', 'g')) as trap from texts""",
    "nulls in `not in`, on either side": """
        select n as trap from numbers where n not in (select m from numbers)
        union all
        select m from numbers where m not in (select n from numbers)""",
    "texts that are put together": "select concat_ws('; ', text, null, text) || text as trap from texts",
    "labels of several options": """
        select shown_options(t.text, 'choices', o) as trap from texts t, state.option_maps o where o.record_type = 'lead'""",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_between_the_two_is_none(engines: BothEngines, trap: str) -> None:
    moments = [
        f"2026-01-01 00:00:{second:02}.{part}" for second in (0, 1, 59) for part in ("000000", "000001", "999999")
    ]
    if "texts" not in given_to(engines):
        engines.give("moved", pa.table({"a": ["x", None], "b": [None, "x"]}))
        engines.give("texts", pa.table({"text": [None, *TEXTS, "1\n", "12"]}))
        engines.give("zones", pa.table({"zone": ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]}))
        engines.give(
            "numbers",
            pa.table(
                {
                    "n": pa.array([-57, -28, -1, 0, 1, 57, None], pa.int64()),
                    "m": pa.array([1, 1, 1, 0, 0, 1, 1], pa.int64()),
                }
            ),
        )
        engines.give("moment_texts", pa.table({"text": moments}))
        engines.make("moments", "select text::timestamp as at from moment_texts")
    engines.make("trapped", TRAPS[trap])
    assert engines.differences(("trapped",)) == {}


def given_to(engines: BothEngines) -> set[str]:
    names = engines.duckdb.execute("select table_name from duckdb_tables() where temporary").fetchall()
    return {name for (name,) in names}
