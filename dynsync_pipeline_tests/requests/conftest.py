"""The world in which requests are served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, field_map
from dynsync_pipeline_tests.worlds.requests import RequestWorld


@pytest.fixture
def world() -> Iterator[RequestWorld]:
    world = RequestWorld(field_map(*SAME_FOR_BOTH_TYPES, "topics,new_topics,choices,both,true"))
    world.link(RecordType.LEAD, "l1", title="Boss")
    world.settled()
    yield world
