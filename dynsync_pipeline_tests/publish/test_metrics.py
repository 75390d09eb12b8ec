"""What Prometheus reads: the file that every cycle writes, `/metrics`, and the dashboard that asks for them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from dynsync_pipeline.publish.figures import MOST_CYCLES
from dynsync_pipeline.publish.metrics import metrics_text
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.cli.conftest import HandMade
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.publish.conftest import HOSTILE, ago, figures_of

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
OF_THE_LISTENER = {"dynsync_requests_waiting"}


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name of the metric and values of its labels, in the order of the labels' names."""
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_every_figure_is_told_with_labels_that_name_nobody(home: HandMade) -> None:
    figures = figures_of(home)
    text = metrics_text(figures)
    told = samples(text)
    assert told["dynsync_waiting_records"]["to_dynamics", "lead"] == 1
    assert told["dynsync_refused_records"]["to_marketo", "contact"] == 2
    assert told["dynsync_refused_writes"] == {("1003", "to_marketo", "email", "contact"): 2}
    assert told["dynsync_collisions_7_days"]["city", "lead", "marketo"] == 3
    assert told["dynsync_backlog_records"] == {("contact",): 1, ("lead",): 0}
    assert told["dynsync_calls_24_hours"] == {("dynamics",): 14, ("marketo",): 35}
    assert told["dynsync_last_cycle_status"] == {("succeeded",): 1, ("failed",): 0, ("stopped_by_guard",): 0}
    assert told["dynsync_last_cycle_duration_seconds"] == {(): 10}
    assert told["dynsync_file_bytes"]["working_file",] > 100_000
    assert told["dynsync_paused"] == {(): 0}
    assert HOSTILE not in text and "O'Brien" not in text


def test_of_a_sync_that_never_ran_nothing_false_is_told(tmp_path: Path) -> None:
    made = HandMade(tmp_path)
    with Warehouse(made.settings.working_file):
        told = samples(metrics_text(figures_of(made)))
    assert told["dynsync_last_success_timestamp_seconds"] == {}
    assert told["dynsync_last_cycle_duration_seconds"] == {}


@story
def test_what_alarms_go_by_is_told_whatever_failed_since(tmp_path: Path) -> None:
    """Where it went with the last cycle that is listed, the alarm on it would fall silent after a night of failures."""
    made = HandMade(tmp_path)
    failures = (made.cycle(n, ago(minutes=400 - 5 * n), "failed", "no") for n in range(2, MOST_CYCLES + 3))
    refusals = "".join(
        f"{', ' if n else ''}({n}, 1, now()::timestamp, now()::timestamp, 'contact', '{n}', '{operation}', 'to_marketo', "
        "'1003', 'no', 1, 'waiting')"
        for n, operation in enumerate(("create", "create", "update"))
    )
    made.publish(
        made.cycle(1, ago(hours=9)),
        *failures,
        "insert into ledger.sync_errors (error_id, cycle_id, happened_at, last_seen_at, record_type, dynamics_id, operation, "
        f"direction, code, message, attempts, state) values {refusals}",
    )
    told = samples(metrics_text(figures_of(made)))
    (succeeded_s,) = told["dynsync_last_success_timestamp_seconds"].values()
    assert 8.9 * 3600 < time.time() - succeeded_s < 9.1 * 3600
    assert told["dynsync_refused_writes"] == {("1003", "to_marketo", "", "contact"): 3}


def test_the_dashboard_asks_for_nothing_that_is_not_told(home: HandMade) -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    asked = set(re.findall(r"dynsync_[a-z0-9_]+", " ".join(t["expr"] for p in board["panels"] for t in p["targets"])))
    told = set(samples(metrics_text(figures_of(home)))) | OF_THE_LISTENER
    assert asked <= told
    assert told - asked <= {"dynsync_info", "dynsync_told_timestamp_seconds", "dynsync_last_cycle_timestamp_seconds",
                            "dynsync_refused_records"}  # fmt: skip
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
