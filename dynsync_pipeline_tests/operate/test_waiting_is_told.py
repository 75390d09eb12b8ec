"""A cause that begins to wait while another one does is told at once; more of the same is not (`operate/occasions.py`)."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from dynsync_pipeline.operate.notify import FILE, notify
from dynsync_pipeline.operate.occasions import kind_of
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import utc_now
from dynsync_pipeline_tests.cli.conftest import HandMade
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.hook import listening


def asked(number: int, field: str, person: int, minutes_ago: int) -> str:
    return (
        "insert into state.approvals (approval_id, cause, cause_name, n_people, record_type, dynamics_id, person_id, field, "
        f"direction, asked_at) values ({number}, 'field', '{field}', 3, 'lead', 'r{person}', {person}, '{field}', "
        f"'to_marketo', {ago(minutes_ago)})"
    )


def opened(number: int, field: str, person: int, minutes_ago: int) -> str:
    return (
        "insert into state.reviews (review_id, person_id, record_type, dynamics_id, field, opened_at) "
        f"values ({number}, {person}, 'lead', 'r{person}', '{field}', {ago(minutes_ago)}); "
        f"insert into state.unpublished (published_table, person_id) values ('people', {person})"
    )


def ago(minutes: int) -> str:
    return f"timestamp '{utc_now().replace(tzinfo=None) - timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}'"


@story
def test_what_begins_to_wait_is_told_at_once_and_more_of_the_same_is_not(tmp_path: Path) -> None:
    home = HandMade(tmp_path)
    begun = home.cycle(1, f"{utc_now().replace(tzinfo=None):%Y-%m-%d %H:%M:%S}")
    with listening() as hook:
        settings = Settings(data_dir=home.settings.data_dir, notify=hook.address)

        def told(*statements: str) -> list[str]:
            home.publish(*statements)
            return [kind_of(key) for key in notify(settings)]

        assert told(begun, asked(1, "title", 1, 30), opened(2, "title", 1, 30)) == ["reviews_wait", "approvals_wait"]
        assert told(asked(3, "title", 2, 20), opened(4, "title", 2, 20)) == []
        assert told(asked(5, "city", 3, 10)) == ["approvals_wait"]
        assert told(opened(6, "city", 3, 10)) == ["reviews_wait"]
        settled = "update state.approvals set approved_at = asked_at where field = 'city'"
        assert told(settled, "update state.reviews set choice = 'marketo' where field = 'city'",
                    "insert into state.unpublished (published_table, person_id) values ('people', 3)") == []  # fmt: skip
        assert told(asked(7, "city", 4, 5), opened(8, "city", 4, 5)) == [], "it was told within a day"
    assert len(json.loads((settings.data_dir / FILE).read_text())) == 4
