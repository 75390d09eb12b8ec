"""Each decision is a short record in one form, and the list of them is complete."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from dynsync_pipeline_tests.docs.citations import DOCS, text_of

FOLDER = DOCS / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
PARTS = ("Context", "Decision", "Consequence")


def test_the_numbers_have_no_gap() -> None:
    assert [path.name[:5] for path in RECORDS] == [f"{number:04}-" for number in range(1, len(RECORDS) + 1)]
    assert len(RECORDS) >= 8


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_has_number_date_status_and_its_three_parts(path: Path) -> None:
    text = text_of(path)
    (number, day, status), *more = re.findall(r"^\| (\d{4}) \| (\S+) \| (.+) \|$", text, re.MULTILINE)
    assert (number, more) == (path.name[:4], [])
    assert text.startswith(f"# {int(number)}. ")
    date.fromisoformat(day)
    replaced = re.fullmatch(r"replaced by (\d{4})", status)
    assert status == "accepted" or (replaced and any(path.name.startswith(replaced[1]) for path in RECORDS))
    parts = re.findall(r"^## (.+)\n\n(.+)$", text, re.MULTILINE)
    assert tuple(name for name, _ in parts) == PARTS


def test_the_list_names_every_decision_with_its_status() -> None:
    listed = dict(re.findall(r"^\| \[\d{4}\]\((.+)\) \| .+ \| (.+) \|$", text_of(FOLDER / "README.md"), re.MULTILINE))
    assert listed == {
        path.name: re.findall(r"^\| \d{4} \| \S+ \| (.+) \|$", text_of(path), re.MULTILINE)[0] for path in RECORDS
    }
