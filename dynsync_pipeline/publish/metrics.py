"""`metrics.prom` beside `status.json`: the figures as Prometheus reads them, from that file or from `/metrics`.

Counts, times and sizes; labels are objects, directions, fields and codes, and nobody's values. Not here: the figures
(`figures.py`), who serves them (`cli/listen.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_file(snapshot: Path) -> Path:
    """Where `metrics.prom` is."""
    return snapshot.with_name("metrics.prom")


def metrics_text(figures: Mapping[str, Any]) -> str:
    """The figures of `status.json` in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Figures(figures))
    return generate_latest(registry).decode()


class _Figures(Collector):
    """Tells the figures when Prometheus' library asks."""

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Each figure as a gauge: a cycle tells how things stand, and a scrape may come at any time."""
        figures = self._figures
        ended = [cycle for cycle in figures["recent_cycles"] if cycle["ended_at"]]
        succeeded = [_seconds(figures["last_success_at"])] if figures["last_success_at"] else []
        yield _gauge("last_success_timestamp_seconds", "When the last whole cycle ended.", _alone(succeeded))
        yield from _of_cycles(ended)
        yield _gauge(
            "told_timestamp_seconds", "When the last cycle told these figures.", {(): _seconds(figures["told_at"])}
        )
        yield _gauge("paused", "1 while somebody holds the sync.", {(): int(bool(figures["paused"]))})
        yield from _of_lag(figures["lag"])
        yield _gauge(
            "backlog_records",
            "Records not settled at the last look.",
            _last_backlog(figures["backlog_by_hour"]),
            "object",
        )
        yield _gauge(
            "refused_writes", "Open refusals by cause, the fifty most frequent.",
            _refused(figures["refused"]),
            "object", "direction", "field", "code",
        )  # fmt: skip
        yield _gauge(
            "collisions_7_days", "Collisions settled in the last seven days.",
            {(r["record_type"], r["field"], r["winner"]): r["n"] for r in figures["collided"]}, "object", "field", "winner",
        )  # fmt: skip
        used = {(row["system"],): row["n_used"] for row in figures["budgets"]}
        yield _gauge("calls_24_hours", "Calls sent in the last 24 hours.", used, "system")
        allowed = {(row["system"],): row["n_allowed"] for row in figures["budgets"]}
        yield _gauge("calls_allowed_24_hours", "Calls that 24 hours may have.", allowed, "system")
        yield _gauge("parked_fields", "Fields of the map that are not synced now.", {(): len(figures["parked"])})
        sizes = {(name,): n for name, n in figures["size_bytes"].items()}
        yield _gauge("file_bytes", "Sizes of the files.", sizes, "file")
        yield _gauge("info", "The version.", {(figures["version"],): 1}, "version")


def _of_cycles(ended: list[dict[str, Any]]) -> Iterator[GaugeMetricFamily]:
    """How the last cycles went, newest first; no sample of what there was none of."""
    last = ended[:1]
    yield _gauge(
        "last_cycle_timestamp_seconds", "When the last cycle ended.", _alone([_seconds(c["ended_at"]) for c in last])
    )
    yield _gauge(
        "last_cycle_duration_seconds", "How long it took.",
        _alone([_seconds(c["ended_at"]) - _seconds(c["started_at"]) for c in last]),
    )  # fmt: skip
    yield _gauge(
        "last_cycle_status", "1 for how it ended.",
        {(status,): int(c["status"] == status) for c in last for status in ("succeeded", "failed", "stopped_by_guard")}, "status",
    )  # fmt: skip
    yield _gauge(
        "last_cycle_records", "What it wrote, settled and was refused.",
        {
            (name,): sum(c[column] for column in columns)
            for c in last
            for name, columns in {
                "written_to_marketo": ("n_people_created", "n_people_updated", "n_companies_written"),
                "written_to_dynamics": ("n_records_updated",),
                "collisions": ("n_collisions",),
                "refused": ("n_refused",),
            }.items()
        }, "what",
    )  # fmt: skip


def _of_lag(lag: list[dict[str, Any]]) -> Iterator[GaugeMetricFamily]:
    labels = ("object", "direction")
    keys = [(row["object"], row["direction"]) for row in lag]
    yield _gauge(
        "last_read_timestamp_seconds", "When the edits that go there were last read.",
        dict(zip(keys, (_seconds(row["read_at"]) for row in lag), strict=True)), *labels,
    )  # fmt: skip
    waiting = dict(zip(keys, (row["n_waiting"] for row in lag), strict=True))
    yield _gauge("waiting_records", "Records of the last plan that are yet to be written.", waiting, *labels)
    refused = dict(zip(keys, (row["n_refused"] for row in lag), strict=True))
    yield _gauge("refused_records", "Records of which something is refused.", refused, *labels)


def _refused(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    """How many by cause, whatever operation met it."""
    found: dict[tuple[str, ...], float] = {}
    for row in rows:
        key = (row["object"], row["direction"], row["field"] or "", row["code"])
        found[key] = found.get(key, 0) + row["n"]
    return found


def _last_backlog(hours: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    """The last number of each object; rows are in the order of time."""
    return {(row["object"],): row["n_last"] for row in hours}


def _alone(values: list[float]) -> dict[tuple[str, ...], float]:
    """A sample without labels, or none."""
    return dict.fromkeys([()], values[0]) if values else {}


def _gauge(name: str, told: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"dynsync_{name}", told, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
