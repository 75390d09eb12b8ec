"""Whom `dynsync push`, `assign` and `task` ask for: ids by option, and by the column of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from dynsync_pipeline.cli.asking import people_of


@pytest.mark.parametrize(("cell_end", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-16")])
def test_a_list_of_people_is_read_as_any_spreadsheet_saves_it(cell_end: str, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    rows = (("name", "person_id"), ("Zoë O'Brien 🦊", "7"), ("أحمد", " 9 "), ("", "7"))
    file.write_text("".join(f"{cell_end.join(row)}\n" for row in rows), encoding)
    assert people_of([8], file) == [8, 7, 9]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"person_id\n\xff\xff", "no CSV in UTF-8 or UTF-16"),
        (b"id\n7\n", "no column person_id"),
        (b"person_id\n7\n\nx\n", "line 4: person_id is not a number"),
        (b"person_id\n", "give people with --person or --csv"),
        (b"person_id\n0\n", "0 is not the id of a person"),
    ],
)
def test_what_is_no_list_of_people_is_refused_and_says_where(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    with pytest.raises(typer.BadParameter, match=said):
        people_of(None, file)
