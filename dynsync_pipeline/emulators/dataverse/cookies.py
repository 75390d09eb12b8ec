"""Opaque cursors: the paging cookie in `$skiptoken` and the version stamp in `$deltatoken`.

Built in the shape of the real ones, inner cookie percent-encoded twice; clients follow them byte for byte.
Source: docs/protocols/dataverse.md#paging, #change-tracking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

import msgspec

from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request

_OUTER = re.compile(r'<cookie pagenumber="(\d{1,9})" pagingcookie="([^"<>]*)" istracking="(True|False)" />')
_INNER = re.compile(r'<cookie page="(\d{1,9})"><state value="([^"<>]*)"/></cookie>')
_STAMP = re.compile(r"(\d{1,18})!(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d)")


@dataclass(frozen=True)
class Cookie:
    """Where the next page starts: its number, and the values of the last row seen (or other state), as JSON."""

    page: int
    state: list[object]
    is_tracking: bool = False

    def encode(self) -> str:
        """The value of `$skiptoken`, percent-encoded for a URL."""
        state = quoteattr(msgspec.json.encode(self.state).decode(), {'"': "&quot;"})
        inner = quote(quote(f'<cookie page="{self.page - 1}"><state value={state}/></cookie>', safe=""), safe="")
        outer = f'<cookie pagenumber="{self.page}" pagingcookie="{inner}" istracking="{self.is_tracking}" />'
        return quote(outer, safe="")

    @classmethod
    def decode(cls, token: str) -> Cookie:
        """Read the decoded value of `$skiptoken`. Raises DataverseError 400."""
        outer = _OUTER.fullmatch(token)
        inner = _INNER.fullmatch(unquote(unquote(outer[2]))) if outer else None
        if not outer or not inner:
            raise _malformed()
        text = inner[2].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        try:
            state = msgspec.json.decode(text, type=list[object])
        except (msgspec.DecodeError, UnicodeError):
            raise _malformed() from None
        return cls(int(outer[1]), state, outer[3] == "True")


@dataclass(frozen=True)
class Stamp:
    """What a delta link remembers: the newest row version its holder has seen, and when it was made."""

    version: int
    made_at: datetime

    def __str__(self) -> str:
        return f"{self.version}!{self.made_at:%m/%d/%Y %H:%M:%S}"

    def encode(self) -> str:
        """The value of `$deltatoken`, percent-encoded for a URL."""
        return quote(str(self), safe="")

    @classmethod
    def decode(cls, token: str) -> Stamp:
        """Read the decoded value of `$deltatoken`. Raises DataverseError 400."""
        match = _STAMP.fullmatch(token)
        try:
            made_at = datetime.strptime(match[2], "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC) if match else None
        except ValueError:
            made_at = None
        if match is None or made_at is None:
            raise bad_request("The $deltatoken is not valid.", "0x80060888")
        return cls(int(match[1]), made_at)


def _malformed() -> DataverseError:
    return bad_request("Malformed XML in the paging cookie.", "0x80040203")
