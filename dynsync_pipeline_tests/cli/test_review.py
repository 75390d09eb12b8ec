"""`dynsync review`: shows what waits for somebody's word, and takes it, one or a file at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story

LONG = "x" * 300


@pytest.fixture
def waiting(hand_made: HandMade) -> HandMade:
    """Two reviews; one side's value would be a formula, the other's is no Latin."""
    columns = (
        "review_id, person_id, record_type, dynamics_id, field, base_value, dynamics_value, marketo_value, base_shown, "
        "dynamics_shown, marketo_shown, opened_at"
    )
    hand_made.publish(
        f"insert into state.reviews ({columns}) values "
        "(7, 1, 'lead', 'a', 'title', null, '=O''Brien', 'שלום 🧯', null, '=O''Brien', 'שלום 🧯', now()), "
        f"(8, 2, 'lead', 'b', 'city', 'A', '{LONG}', 'C', 'A', '{LONG}', '[bold]C', now())",
        "insert into state.unpublished (published_table, person_id) values ('people', 1), ('people', 2)",
    )
    return hand_made


def choices(hand_made: HandMade) -> dict[int, str | None]:
    with Warehouse(hand_made.settings.working_file) as warehouse, warehouse.reading() as connection:
        return dict(connection.execute("select review_id, choice from state.reviews").fetchall())


@story
def test_what_waits_is_shown_and_one_is_decided_by_its_number(run: Run, waiting: HandMade) -> None:
    shown = run("review", environment=waiting.environment, width=80)
    assert shown.code == 0
    assert "[bold]C" in shown.out
    assert "שלום 🧯" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    found = json.loads(run("review", "--json", environment=waiting.environment).out)
    assert sorted(row["review_id"] for row in found) == [7, 8]
    decided = run("review", "8", "--take", "marketo", environment=waiting.environment)
    assert (decided.code, choices(waiting)) == (0, {7: None, 8: "marketo"})
    assert waiting.actions() == [("review", {"reviews": {"n": 1, "ids": [8]}, "dynamics": 0, "marketo": 1})]
    assert run("review", "9", "--take", "marketo", environment=waiting.environment).code == 2
    for wrong in (["--take", "dynamics"], ["8", "--take", "dynamics", "--csv", "-"], ["8", "--apply", "x.csv"]):
        assert run("review", *wrong, environment=waiting.environment).code == 2
    assert choices(waiting) == {7: None, 8: "marketo"}


@story
def test_a_file_is_written_filled_in_by_a_spreadsheet_and_taken_in(run: Run, waiting: HandMade, tmp_path: Path) -> None:
    """What is not open any more is told, and the rest is taken in; a file with a fault decides nothing."""
    file = tmp_path / "reviews.csv"
    assert run("review", "--csv", str(file), environment=waiting.environment).code == 0
    text = file.read_text("utf-8")
    assert "'=O'Brien" in text
    header = "review_id,record_id_dynamics,choice\n"
    for bad in (f"{header}7,a,both\n", f"{header}x,a,marketo\n", "review_id,choice\n7,marketo\n", ""):
        file.write_text(bad, "utf-8")
        assert run("review", "--apply", str(file), environment=waiting.environment).code == 2
    file.write_text(f"{header}7,a,marketo\n7,a,dynamics\n", "utf-8")
    assert "decided twice" in run("review", "--apply", str(file), environment=waiting.environment).err
    assert choices(waiting) == {7: None, 8: None}
    filled_in = "choice;review_id;note;record_id_dynamics\r\nDynamics;7;ä;A\r\nmarketo;99;;z\r\n;8;;b\r\n"
    file.write_bytes(filled_in.encode("utf-8-sig"))
    applied = run("review", "--apply", str(file), environment=waiting.environment)
    assert (applied.code, choices(waiting)) == (1, {7: "dynamics", 8: None})
    assert "99" in applied.err
    file.write_bytes(filled_in.replace(";", "\t").replace("Dynamics", "Marketo").encode("utf-16"))
    assert run("review", "--apply", str(file), environment=waiting.environment).code == 1
    assert choices(waiting) == {7: "marketo", 8: None}


def test_a_file_of_another_pair_whose_reviews_have_the_same_numbers_decides_nothing(
    run: Run, waiting: HandMade, tmp_path: Path
) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("review_id,choice,record_id_dynamics\n8,marketo,b\n7,marketo,c\n", "utf-8")
    applied = run("review", "--apply", str(file), environment=waiting.environment)
    assert (applied.code, choices(waiting), waiting.actions()) == (2, {7: None, 8: None}, [])
    assert "line 3: review 7 is of another record here" in " ".join(applied.err.split())
