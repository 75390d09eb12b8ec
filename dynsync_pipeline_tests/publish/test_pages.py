"""What `status.html` and the page of one person show, looked at in a browser: for anybody, on any screen, with any text."""

from __future__ import annotations

import html
import json
import stat
from pathlib import Path

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish.metrics import metrics_text
from dynsync_pipeline.publish.status_page import status_page
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.pause import pause, resume
from dynsync_pipeline_tests.cli.conftest import HandMade
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.publish.conftest import HOSTILE, ago, figures_of
from dynsync_pipeline_tests.worlds.browser import Seen, look_at
from dynsync_pipeline_tests.worlds.memory import MemoryWorld

pytestmark = story

CHARTS = [
    "Seconds that each of the last 3 cycles took",
    "Records that were not settled, at most in each hour of the last five days, by object",
    "Collisions by field and winner",
]


def test_the_figures_count_what_waits_was_refused_collided_and_reached_people(home: HandMade) -> None:
    told = figures_of(home)
    lag = {(row["object"], row["direction"]): (row["n_waiting"], row["n_refused"]) for row in told["lag"]}
    assert lag == {
        ("account", "to_marketo"): (0, 0), ("contact", "to_marketo"): (1, 2), ("lead", "to_marketo"): (0, 0),
        ("contact", "to_dynamics"): (0, 0), ("lead", "to_dynamics"): (1, 0),
    }  # fmt: skip
    (refused,) = told["refused"]
    assert (refused["n"], refused["n_quarantined"], refused["message"]) == (2, 1, HOSTILE)
    collided = [(row["field"], row["winner"], row["n"]) for row in told["collided"]]
    assert collided[:2] == [("city", "dynamics", 3), ("city", "marketo", 3)]
    assert sum(n for *_, n in collided) == 9, "eight days ago is no more among them"
    (account,) = told["fanned_out"]
    assert (account["name"], account["fields"], account["n_contacts"]) == (HOSTILE, "company, website", 5001)
    calls = {row["system"]: (row["n_used"], row["n_allowed"]) for row in told["budgets"]}
    assert calls == {"dynamics": (14, 100_000), "marketo": (22 + 13, 25_000)}
    assert [row["day"] and row["day"]["n_forecast"] for row in told["budgets"]] == [None, 26_000]
    assert told["waiting_for_people"] == {"n_reviews": 1, "n_approvals": 1, "n_merges": 0}
    assert told["schema"][0]["meaning"].startswith("R109 shorter")


@pytest.fixture(scope="module")
def seen(home: HandMade, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Seen]:
    """The page on a phone, dark, and on a desk."""
    page = status_page(figures_of(home))
    return {
        width: look_at(page, tmp_path_factory.mktemp("browser"), width=width, is_dark=width < 1000)
        for width in (390, 1200)
    }


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_the_screen_has_a_name_for_everything_and_no_complaint(seen: dict[int, Seen], width: int) -> None:
    page = seen[width]
    assert page.console == []
    assert page.found["width"] == width
    assert page.found["overflow"] <= 0
    assert page.found["nameless"] == []
    assert page.found["drawn"] == CHARTS


def test_the_page_is_light_or_dark_as_the_reader_wants_it(seen: dict[int, Seen]) -> None:
    assert seen[390].found["ground"] == "rgb(20, 22, 26)"
    assert seen[1200].found["ground"] == "rgb(251, 251, 250)"


def test_the_page_begins_with_how_it_stands_and_tells_texts_as_they_are(seen: dict[int, Seen]) -> None:
    text = seen[1200].found["text"]
    assert text.startswith("In step\n")
    assert "All but 2 refused writes and 2 records that are yet to be written" in text
    assert text.count(HOSTILE) == 2, "the account's name, and what was said of the refusals"
    assert "Marketo: 35 of 25,000 in 24 hours" in text
    assert "with about 26,000 calls: more than it may have." in text
    assert "1 collision: dynsync review" in text


def test_a_page_leads_nowhere_outside(home: HandMade) -> None:
    page = status_page(figures_of(home))
    assert "default-src 'none'" in page
    assert 'src="' not in page.split("<script", 1)[0] and "@import" not in page
    assert page.count(HOSTILE) == 0, "no text of theirs is markup in it"


WRONG = {
    "paused": ("Paused", "import"),
    "failed": ("The last cycle failed", "Marketo does not answer."),
    "guard": ("Stopped by a guard", "When a guard stops a cycle"),
    "late": ("Behind", "No cycle has succeeded for 5 h. Is the sync running?"),
    "new": ("Beginning", "No cycle has ended yet."),
}


def test_whatever_is_wrong_stands_first(tmp_path: Path) -> None:
    late, now = ago(hours=5), ago(minutes=1)
    made = HandMade(tmp_path)
    cycles = {
        "failed": [made.cycle(1, late), made.cycle(2, now, "failed", "Marketo does not answer.")],
        "guard": [made.cycle(1, now, "stopped_by_guard", "More than 1,000 new people.")],
        "late": [made.cycle(1, late)],
        "new": [],
    }
    frames = []
    for state in WRONG:
        if state == "paused":
            pause(tmp_path, "import")
        with Warehouse(made.settings.working_file) as warehouse, warehouse.transaction() as connection:
            connection.execute("delete from ledger.cycles")
            for statement in cycles.get(state, [made.cycle(1, now)]):
                connection.execute(statement)
        frames.append(f"<iframe srcdoc='{html.escape(status_page(figures_of(made)))}'></iframe>")
        resume(tmp_path)
    seen = look_at(f"<!doctype html><main id='page'></main>{''.join(frames)}<body></body>", tmp_path)
    assert seen.console == []
    for text, (begins, says) in zip(seen.found["frames"], WRONG.values(), strict=True):
        assert text.startswith(f"{begins}\n")
        assert says in text


def test_page_and_metrics_are_written_by_every_cycle_for_everybody() -> None:
    world = MemoryWorld(publishes=True)
    world.link(RecordType.CONTACT, "c", title="A")
    world.settled()
    world.cycle()
    folder = world.settings.data_dir
    names = ("status.html", "status.json", "snapshot.duckdb", "metrics.prom")
    page, told, snapshot, metrics = (folder / name for name in names)
    first, swapped = page.read_text("utf-8"), snapshot.stat().st_ino
    world.cycle()
    assert snapshot.stat().st_ino == swapped, "a quiet cycle swaps nothing in"
    assert page.read_text("utf-8") != first
    assert json.dumps(json.loads(told.read_text())["figures"], ensure_ascii=False) in page.read_text("utf-8")
    assert {stat.S_IMODE(file.stat().st_mode) for file in (page, metrics)} == {0o444}
    assert metrics.read_text("utf-8") == metrics_text(json.loads(told.read_text())["figures"])
    assert 'dynsync_waiting_records{direction="to_dynamics",object="lead"} 0.0' in metrics.read_text("utf-8")
