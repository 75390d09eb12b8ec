"""Traces reach a collector where one is set, as a tree of cycle, step and request, and hold nothing of anybody."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dynsync_pipeline_tests.properties.effort import story

CYCLE = """
from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.tracing import span
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
world = MemoryWorld(publishes=True)
world.link(RecordType.CONTACT, "c", title="O'Brien")
with world.opened() as cycle:
    cycle.extract()
    cycle.extract_companies()
    with span("GET /contacts", system="dynamics"):
        pass
    cycle.publish()
try:
    with span("fails"):
        raise ServerFailed("secret of O'Brien", system="marketo", request="GET /x")
except ServerFailed:
    pass
"""


class Collector(ThreadingHTTPServer):
    """A collector on this machine, and the spans that it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[Span] = []
        self.raw = b""


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.sent += scope.spans
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


# Where no cycle is needed.
SPAN = """
import json, sys
from dynsync_pipeline.tracing import span
with span("cycle"):
    pass
print(json.dumps(sorted(name for name in sys.modules if "opentel" in name)))
"""


def run(endpoint: str, script: str) -> subprocess.CompletedProcess[str]:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip


@story
def test_a_cycle_is_a_tree_of_steps_and_requests(collector: Collector) -> None:
    run(f"http://127.0.0.1:{collector.server_port}", CYCLE)
    by_id = {span.span_id: span for span in collector.sent}
    parents = {span.name: by_id[span.parent_span_id].name for span in collector.sent if span.parent_span_id}
    assert parents["extract"] == "cycle"
    assert parents["extract_people"] == parents["extract_records"] == "extract", "in threads of their own"
    assert parents["GET /contacts"] == "cycle"
    assert parents["publish"] == "cycle"
    (failed,) = [span for span in collector.sent if span.name == "fails"]
    assert {each.key: each.value.string_value for each in failed.attributes} == {"error.type": "ServerFailed"}
    assert not failed.events
    assert b"Brien" not in collector.raw


def test_a_collector_that_is_gone_fails_no_cycle() -> None:
    assert json.loads(run("http://127.0.0.1:9", SPAN).stdout)


# More than a batch, or several, that nobody takes. What is registered first is the last that is done at the end.
MANY = """
import atexit, threading
atexit.register(lambda: print([thread.name for thread in threading.enumerate() if thread.name == "traces"]))
from dynsync_pipeline.tracing import span
for _ in range(1800):
    with span("step"):
        pass
"""


def test_a_collector_that_never_answers_does_not_hold_the_end_of_a_process_up_until_all_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert run(f"http://127.0.0.1:{silent.getsockname()[1]}", MANY).stdout == "['traces']\n"


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    assert json.loads(run("", SPAN).stdout.splitlines()[-1]) == []
