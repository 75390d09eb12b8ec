"""The reviewed file: what spreadsheets and people do to a CSV, read back or refused with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.cli.adoption_file import COLUMNS, read_reviewed, write_pairs
from dynsync_pipeline.errors import AdoptionWrong, StorageFailed
from dynsync_pipeline.reconcile.adoption import Decision, Pair, Reviewed

ONE, TWO, THREE = (f"{n}0000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
PAIRS = [
    Pair("contact", ONE, "link", 1001, "e-mail address", "", "Ada", "ada@example.com", "Ada L.", "ADA@example.com"),
    Pair("lead", TWO, "create", None, "none", "nobody", '=HYPERLINK("http://x.example";"y")', None, None, None),
    Pair("lead", THREE, "skip", None, "unclear", "several", "Zoë 🎉\nMüller; Söhne", "z@example.com", None, None),
]
AS_REVIEWED = [
    Reviewed(2, "contact", ONE, 1001, Decision.LINK),
    Reviewed(3, "lead", TWO, None, Decision.CREATE),
    Reviewed(4, "lead", THREE, None, Decision.SKIP),
]


@pytest.fixture
def proposal(tmp_path: Path) -> Path:
    path = tmp_path / "adoption.csv"
    write_pairs(path, PAIRS)
    return path


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "reviewed.csv"
    path.write_bytes(text.encode(encoding))
    return path


def as_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def saved(tmp_path: Path, rows: list[list[str]], encoding: str = "utf-8", **dialect: Any) -> Path:
    """The file as another program saves these rows."""
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return written(tmp_path, text.getvalue(), encoding)


def test_what_is_written_is_read_back(proposal: Path) -> None:
    assert as_rows(proposal)[0] == list(COLUMNS)
    assert read_reviewed(proposal) == AS_REVIEWED


def test_no_cell_begins_a_formula(proposal: Path) -> None:
    assert as_rows(proposal)[2][6] == """'=HYPERLINK("http://x.example";"y")"""
    assert not [cell for row in as_rows(proposal) for cell in row if cell[:1] in {"=", "+", "-", "@"}]


def test_a_file_that_is_there_is_never_overwritten(proposal: Path) -> None:
    before = proposal.read_bytes()
    with pytest.raises(AdoptionWrong, match=r"exists already.*--out"):
        write_pairs(proposal, PAIRS)
    assert proposal.read_bytes() == before


def test_a_file_that_cannot_be_written_to_its_end_is_not_there(tmp_path: Path) -> None:
    """Nor is it there before its end, in case of a kill, after which the next proposal is written like the first."""
    path = tmp_path / "adoption.csv"

    def pairs() -> Iterator[Pair]:
        yield PAIRS[0]
        assert not path.exists()
        raise StorageFailed("gone")

    with pytest.raises(StorageFailed, match="gone"):
        write_pairs(path, pairs())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "adoption.csv.new").write_text("what a kill left")
    write_pairs(path, PAIRS)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StorageFailed, match="--out"):
        write_pairs(Path("/proc/nowhere/adoption.csv"), PAIRS)


@pytest.mark.parametrize(
    ("encoding", "dialect"),
    [
        ("utf-8-sig", {"delimiter": ";", "lineterminator": "\r\n"}),
        ("utf-8", {"delimiter": "\t", "lineterminator": "\n"}),
        ("utf-8-sig", {"delimiter": ",", "lineterminator": "\r\n"}),
        ("utf-8", {"delimiter": ";", "lineterminator": "\r", "quoting": csv.QUOTE_ALL}),
    ],
)
def test_separators_line_ends_and_byte_order_marks_do_not_matter(
    tmp_path: Path, proposal: Path, encoding: str, dialect: dict[str, Any]
) -> None:
    assert read_reviewed(saved(tmp_path, as_rows(proposal), encoding, **dialect)) == AS_REVIEWED


def test_names_in_another_code_do_not_matter(tmp_path: Path) -> None:
    text = f"record_type;dynamics_id;decision;person_id;record_name\r\ncontact;{ONE};link;1001;Müller\r\n"
    assert read_reviewed(written(tmp_path, text, "cp1252")) == AS_REVIEWED[:1]


def test_further_columns_another_order_capitals_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    text = (
        "Notes, PERSON_ID ,decision,Record_Type,dynamics_id,\n"
        f"=1+1,1001, Link ,Contact,{{{ONE.upper()}}},x,y,z\n"
        ",,,,,\n"
        "\n"
        f'"two\nlines",,CREATE,lead,{TWO}\n'
        f",,skip,lead,{THREE}\n"
    )
    found = read_reviewed(written(tmp_path, text))
    assert [line.line for line in found] == [2, 5, 7]
    assert [(line.dynamics_id, line.person_id, line.decision) for line in found] == [
        (line.dynamics_id, line.person_id, line.decision) for line in AS_REVIEWED
    ]


def test_a_person_beside_create_or_skip_is_of_no_interest(tmp_path: Path) -> None:
    text = f"record_type,dynamics_id,decision,person_id\nlead,{TWO},create,1001\nlead,{THREE},skip,what\n"
    assert [line.person_id for line in read_reviewed(written(tmp_path, text))] == [None, None]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"contact,{ONE},merge,1001", "decision is none of link, create, skip"),
        (f"contact,{ONE},,1001", "decision is none of"),
        (f"contact,{ONE},=link,1001", "decision is none of"),
        (f"contact,{ONE},link,", "link needs a person_id"),
        (f"contact,{ONE},link,=1001", "person_id is not the id of a Marketo person"),
        (f'contact,{ONE},link,"1,001"', "person_id is not the id"),
        (f"contact,{ONE},link,1001.0", "person_id is not the id"),
        (f"contact,{ONE},link,0", "person_id is not the id"),
        (f"contact,{ONE},link,{'9' * 30}", "person_id is not the id"),
        (f"contact,{ONE},link,١٠٠١", "person_id is not the id"),
        ("contact,1E+07,create,", "dynamics_id is not the id of a Dynamics record"),
        (f"contact,{ONE}' or 1=1 --,create,", "dynamics_id is not the id"),
        (f"account,{ONE},create,", "record_type is neither contact nor lead"),
        (f",{ONE},create,", "record_type is neither"),
        ("contact", "dynamics_id is not the id"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, line: str, fault: str) -> None:
    text = f"record_type,dynamics_id,decision,person_id\nlead,{TWO},create,\n{line}\n"
    with pytest.raises(AdoptionWrong) as refused:
        read_reviewed(written(tmp_path, text))
    assert f"line 3: {fault}" in str(refused.value)
    assert "nothing was written" in str(refused.value)


def test_all_faults_are_told_up_to_twenty_and_no_cell_is_quoted(tmp_path: Path) -> None:
    text = "record_type,dynamics_id,decision,person_id\n" + f"lead,{TWO},secret@example.com,\n" * 25
    with pytest.raises(AdoptionWrong) as refused:
        read_reviewed(written(tmp_path, text))
    told = str(refused.value)
    assert told.count("line ") == 20
    assert "and 5 more" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: no column, or several, of the name record_type, dynamics_id, decision, person_id"),
        (f"contact,{ONE},link,1001\n", "line 1: no column"),
        (f"record_type,dynamics_id,decision\nlead,{ONE},create\n", "of the name person_id"),
        ("record_type,dynamics_id,decision,decision,person_id\n", "of the name decision"),
        ("record_type,dynamics_id,decision,person_id\n\n,,,\n", "no decision follows the header"),
        (f'record_type,dynamics_id,decision,person_id\nlead,"{"x" * 200_000}', "it cannot be read as CSV"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(AdoptionWrong) as refused:
        read_reviewed(written(tmp_path, text))
    assert fault in str(refused.value)


@pytest.mark.parametrize("junk", [b"\x00" * 50, bytes(range(256)), b"PK\x03\x04 a spreadsheet", "a,b".encode("utf-16")])
def test_what_is_no_csv_at_all_is_refused(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "reviewed.csv"
    path.write_bytes(junk)
    with pytest.raises(AdoptionWrong, match=r"no column|CSV"):
        read_reviewed(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AdoptionWrong, match="cannot be read: No such file"):
        read_reviewed(tmp_path / "none.csv")
    with pytest.raises(AdoptionWrong, match="cannot be read: Is a directory"):
        read_reviewed(tmp_path)
