"""Lines of a bulk export: a bad one costs that line, whatever is wrong with it, and tells whose it is (R116)."""

from __future__ import annotations

import io

import pytest

from dynsync_pipeline.clients.marketo.export_lines import BadLine, sort_lines
from dynsync_pipeline.clients.rows import Unreadable

HEADER = b"id,title,city\n"
GOOD = [b'1,"a ""b"", c",x\n', b'2,"two\nlines\r\nand a \r more, ""3,x,y""",null\n', b"4,,\n"]


def sorted_lines(file: bytes) -> tuple[list[bytes], list[BadLine]]:
    """The records that are left, and the bad lines."""
    to = io.BytesIO()
    n_good, bad = sort_lines(io.BytesIO(file), to)
    text = to.getvalue()
    assert text.startswith(HEADER)
    left = [record for record in GOOD if record in text]
    assert len(left) == n_good
    assert len(text) == len(HEADER) + sum(map(len, left)), "nothing else is left"
    return left, bad


BAD = {
    "an unquoted carriage return": b"3,a\rb,x\n",
    "a line end in an unquoted value": b"3,a\nb,x\n",
    "a column less": b"3,a\n",
    "a column more": b"3,a,b,c\n",
    "no UTF-8": b"3,HA\xff,x\n",
    "UTF-8 cut in a character": b"3,HA\xf0\x9f,x\n",
    "a stray quote": b'3,5" pipe,x\n',
    "a quote that does not end": b'3,"a,x\n',
    "a quote that ends twice": b'3,"a"b",x\n',
    "two stray quotes": b'3,5" pipe of 6",x\n',
    "text after a quote": b'3,"a" b,x\n',
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_bad_line_costs_that_line_alone_and_tells_its_person(line: bytes, place: int) -> None:
    lines = [*GOOD[:place], line, *GOOD[place:]]
    left, bad = sorted_lines(HEADER + b"".join(lines))
    assert left == GOOD
    assert 3 in [each.person_id for each in bad]
    assert not any("HA" in each.why for each in bad)


def test_a_line_without_an_id_is_told_by_its_number() -> None:
    left, bad = sorted_lines(HEADER + GOOD[0] + b"x,a,b\n" + GOOD[2])
    assert (left, [(each.number, each.person_id) for each in bad]) == ([GOOD[0], GOOD[2]], [(3, None)])


def test_a_line_inside_a_quoted_value_that_looks_like_a_record_is_none() -> None:
    to = io.BytesIO()
    file = HEADER + b'1,"A\n2,x,y\nB",B\n' + b"3,C,D\n"
    assert sort_lines(io.BytesIO(file), to) == (2, [])
    assert to.getvalue() == file


def test_marks_nul_bytes_and_other_line_ends_are_no_faults() -> None:
    file = HEADER + GOOD[0] + GOOD[2]
    for other in (b"\xef\xbb\xbf" + file, file.replace(b"\n", b"\r\n"), file.replace(b"a", b"\0a"), file + b"\n\n"):
        assert sorted_lines(other) == ([GOOD[0], GOOD[2]], [])
    assert sorted_lines(file[:-1]) == ([GOOD[0], GOOD[2]], [])


def test_a_file_of_bad_lines_is_a_bad_file() -> None:
    with pytest.raises(Unreadable, match="60 of its lines cannot be read"):
        sort_lines(io.BytesIO(HEADER + b"".join(b"%d;a;b\n" % n for n in range(1, 61))), io.BytesIO())


def test_a_person_is_told_by_the_column_id_wherever_it_stands() -> None:
    file = b'title,"id",city\n"a,5",1,x\n"b\nc",2,y\nHA\xff,3,x\n6,7,8,9\n'
    to = io.BytesIO()
    n_good, bad = sort_lines(io.BytesIO(file), to)
    assert (n_good, to.getvalue()) == (2, file[: file.index(b"HA")])
    assert [(each.number, each.person_id) for each in bad] == [(5, 3), (6, None)], (
        "behind a column too many the id is some other number"
    )


def test_an_empty_file_has_no_records() -> None:
    to = io.BytesIO()
    assert (sort_lines(io.BytesIO(b""), to), to.getvalue()) == ((0, []), b"")
