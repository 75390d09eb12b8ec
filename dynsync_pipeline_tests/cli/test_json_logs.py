"""`dynsync --json-logs`: every line is one JSON object, whatever it says."""

from __future__ import annotations

import io
import json
import logging

from dynsync_pipeline.cli.json_logs import JsonLines


def test_a_line_is_an_object_with_what_it_adds() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    log = logging.Logger("dynsync_pipeline.clients")
    log.addHandler(handler)
    log.warning('%s: 🦊\n"quoted"', "GET /x", extra={"seconds": 0.5, "system": "marketo"})
    try:
        raise ValueError("of a kind")
    except ValueError as error:
        log.error("It failed.", exc_info=error)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("at").endswith("+00:00")
    assert first == {
        "level": "warning", "logger": "dynsync_pipeline.clients", "message": 'GET /x: 🦊\n"quoted"',
        "seconds": 0.5, "system": "marketo",
    }  # fmt: skip
    assert second["trace"].endswith("ValueError: of a kind")
