"""JSON that no decoder takes whole, cut into its pieces, so that one bad piece costs that piece.

Here: text in, text out, without recursion. Not here: what a piece means (`*/protocol.py`, `marketo/answers.py`), asking for
a page again that cannot even be cut (`pages.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from dynsync_pipeline.clients.pages import PageSpoiled
from dynsync_pipeline.clients.rows import Unreadable

Item = TypeVar("Item")
FAULTS = (ValueError, RecursionError)  # what reading a bad piece raises; msgspec's and Arrow's errors are ValueErrors
_MARKS = re.compile(rb'["\[\]{},]')
_STRING_END = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
_MEMBER = re.compile(rb'\s*"((?:[^"\\]|\\.)*+)"\s*:\s*(.*\S)\s*', re.DOTALL)


def elements(array: bytes) -> list[bytes]:
    """The elements of a JSON array, each as it stands, however bad inside. Raises: Unreadable if it cannot be cut."""
    return [piece for piece in _cut(array, b"[", b"]") if piece]


def members(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each value as it stands. Raises: Unreadable if it cannot be cut."""
    found = {}
    for piece in filter(None, _cut(text, b"{", b"}")):
        named = _MEMBER.fullmatch(piece)
        name = None if named is None else named[1].decode("utf-8", "replace")
        if named is None or name is None or name in found:
            raise Unreadable("it holds what is no JSON of its kind")
        found[name] = named[2]
    return found


def sorted_out(array: bytes, read: Callable[[bytes], Item]) -> tuple[list[Item], list[bytes]]:
    """What `read` makes of the elements of a JSON array, and the elements of which it makes nothing.

    Raises: Unreadable if the array cannot be cut, or nothing of it can be read.
    """
    found: list[Item] = []
    bad: list[bytes] = []
    for piece in elements(array):
        try:
            found.append(read(piece))
        except FAULTS as fault:
            bad.append(piece)
            why = what_is_wrong(fault)
    if bad and not found:
        raise Unreadable(why)
    return found, bad


def rows_of(array: bytes, id_name: str) -> list[bytes]:
    """The elements of an array of rows, of which each tells its id at most once.

    Raises: PageSpoiled where more ids than rows are told: a stray quote made one of several rows. Unreadable as `elements`.
    """
    found = elements(array)
    if len(re.findall(rb'(?<!\\)"%s"\s*:' % re.escape(id_name.encode()), array)) > len(found):
        raise PageSpoiled
    return found


def told_once(text: bytes, name: str, value: str) -> str | None:
    """The value of a member of a text that cannot be cut, if its bytes tell just one; `value` is a regular expression."""
    found = set(re.findall(rb'(?<!\\)"%s"\s*:\s*"?(%s)"?\s*[,}\]]' % (re.escape(name.encode()), value.encode()), text))
    return found.pop().decode() if len(found) == 1 else None


def what_is_wrong(fault: Exception) -> str:
    """Why a piece cannot be read, in words that hold nothing of it."""
    if isinstance(fault, Unreadable):
        return str(fault)
    if isinstance(fault, RecursionError):
        return "it is nested too deep"
    return (
        "it holds text that is no UTF-8" if isinstance(fault, UnicodeError) else "it holds what is no JSON of its kind"
    )


def _cut(text: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    """What stands between the commas of the outermost level. Brackets are counted and strings are jumped over."""
    text = text.strip()
    if not (text.startswith(opening) and text.endswith(closing)):
        raise Unreadable("it is cut short or garbled")
    depth, start, place = 0, 1, 0
    while (mark := _MARKS.search(text, place)) is not None:
        place = mark.end()
        sign = mark[0]
        if sign == b'"':
            end = _STRING_END.match(text, place)
            if end is None:
                raise Unreadable("a text in it does not end")
            place = end.end()
        elif sign in b"[{":
            depth += 1
        elif sign in b"]}":
            depth -= 1
            if depth == 0:
                if place != len(text):
                    raise Unreadable("something follows its end")
                yield text[start : mark.start()].strip()
                return
        elif depth == 1:
            yield text[start : mark.start()].strip()
            start = place
    raise Unreadable("it is cut short or garbled")
