"""The file of an export: whole, as its checksum says, and never fetched twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dynsync_pipeline import errors
from dynsync_pipeline.clients.marketo.exports import Piece, piece, save_export
from dynsync_pipeline.clients.marketo.protocol import ExportStatus
from dynsync_pipeline.clients.transport import Reply

FILE = 'id,firstName\n1,Zoë\x00\n2,"a\nb"\n'.encode()
CHECKSUM = "sha256:" + hashlib.sha256(FILE).hexdigest()
TOLD = ExportStatus("Completed", 2, len(FILE), CHECKSUM)
CSV = {"content-type": "text/csv;charset=UTF-8"}


def pieces(n_bytes: int, asked: list[int], cut_at: int | None = None) -> Callable[[int], Piece]:
    def fetch(start: int) -> Piece:
        if cut_at is not None and start >= cut_at:
            raise errors.TimedOut("cut", system="marketo", request="GET file")
        asked.append(start)
        data = FILE[start : start + n_bytes]
        return Piece(start, data, is_last=start + len(data) >= len(FILE))

    return fetch


def test_pieces_are_put_together_and_nul_bytes_dropped(tmp_path: Path) -> None:
    asked: list[int] = []
    save_export(pieces(10, asked), tmp_path / "people.csv", TOLD, "GET file")
    assert (tmp_path / "people.csv").read_bytes() == FILE.replace(b"\0", b"")
    assert asked == [0, 10, 20]
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]


def test_a_download_that_was_cut_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked: list[int] = []
    to = tmp_path / "people.csv"
    with pytest.raises(errors.TimedOut):
        save_export(pieces(10, asked, cut_at=20), to, TOLD, "GET file")
    assert not to.exists()
    save_export(pieces(10, asked), to, TOLD, "GET file")
    assert asked == [0, 10, 20]
    assert to.read_bytes() == FILE.replace(b"\0", b"")


def test_another_checksum_leaves_no_file_and_the_next_try_starts_anew(tmp_path: Path) -> None:
    to = tmp_path / "people.csv"
    to.with_name("people.csv.part").write_bytes(b"of another export")
    with pytest.raises(errors.AnswerUnreadable, match="checksum"):
        save_export(pieces(10, []), to, TOLD, "GET file")
    assert list(tmp_path.iterdir()) == []
    save_export(pieces(10, []), to, TOLD, "GET file")
    assert to.exists()


def test_a_server_without_ranges_sends_the_whole_file_over_what_was_there(tmp_path: Path) -> None:
    to = tmp_path / "people.csv"
    to.with_name("people.csv.part").write_bytes(FILE[:10])
    save_export(lambda start: piece(Reply(200, CSV, FILE), start, "GET file"), to, TOLD, "GET file")
    assert to.read_bytes() == FILE.replace(b"\0", b"")


def test_a_range_says_whether_it_is_the_last() -> None:
    def ranged(text: str, body: bytes) -> Reply:
        return Reply(206, {**CSV, "content-range": text}, body)

    assert piece(ranged("bytes 5-9/20", b"01234"), 5, "GET f") == Piece(5, b"01234", is_last=False)
    assert piece(ranged("bytes 5-9/10", b"01234"), 5, "GET f") == Piece(5, b"01234", is_last=True)
    assert piece(Reply(416, {}, b""), 0, "GET f") == Piece(0, b"", is_last=True)
    for wrong in (ranged("bytes 0-4/20", b"01234"), ranged("bytes 5-9/20", b"0123"), ranged("", b"01234")):
        with pytest.raises(errors.AnswerUnreadable, match="another part"):
            piece(wrong, 5, "GET f")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(404, {"content-type": "text/plain"}, b"not found"), errors.ServerFailed),
        (Reply(503, {}, b""), errors.ServerFailed),
        (
            Reply(
                200,
                {"content-type": "application/json;charset=UTF-8"},
                b'{"success":false,"errors":[{"code":"606","message":"rate"}]}',
            ),
            errors.RateLimited,
        ),
    ],
)
def test_an_answer_that_is_no_file_is_named(reply: Reply, kind: type[errors.ApiError]) -> None:
    with pytest.raises(kind):
        piece(reply, 0, "GET f")
