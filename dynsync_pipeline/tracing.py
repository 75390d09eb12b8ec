"""Traces of cycles, steps and requests, by OpenTelemetry where OTEL_EXPORTER_OTLP_ENDPOINT says where to; else nothing.

Its libraries are the extra `dynsync-pipeline[tracing]`, and its own settings the standard's (`OTEL_…`). A span has the name
of a step, or verb and path of a request; an error tells its kind alone. Not here: the log.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LONGEST_S = 5  # for a batch, and for all that is left at the end of the process, which nobody else waits for
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A span around what is done inside."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    told = {f"dynsync.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, attributes=told, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            from opentelemetry.trace import StatusCode

            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


def traced(step: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A step whose every call is a span of its name."""

    @wraps(step)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Answer:
        with span(step.__name__):
            return step(*arguments, **options)

    return run


@cache
def _tracer() -> Any:
    """OpenTelemetry's, exporting beside the work; None where nobody wants traces, or cannot have them."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("No traces are sent: run `pip install 'dynsync-pipeline[tracing]'`.")
        return None
    provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "dynsync")}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=LONGEST_S)))
    _end_with_process(provider.shutdown)
    return provider.get_tracer("dynsync_pipeline")


def _end_with_process(shut_down: Callable[[], None]) -> None:
    """Send what is left when the process ends, for so long and no longer: of its own it would wait for every batch in turn.

    The thread is begun now, because a process that ends may begin none.
    """
    ending = threading.Event()

    def wait() -> None:
        ending.wait()
        shut_down()

    thread = threading.Thread(target=wait, name="traces", daemon=True)
    thread.start()

    def end() -> None:
        ending.set()
        thread.join(LONGEST_S)

    atexit.register(end)
