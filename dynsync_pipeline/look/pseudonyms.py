"""Pseudonyms for one case: other text of the same length, scripts, cases and blanks; equal texts stay equal, others differ, and
those that differ in their cases alone do so still.

They come from a key that is thrown away with the case, so that nobody can find out what stood there. Not here: which values of
which tables get one (`case.py`).
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import secrets
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import cache

from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.own_fields import KEYLESS

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?")
_DAY = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?")
_OLDEST = 1753  # before that Dynamics takes no date, so what is older stays older
_TRIES = 1_000
_WINDOW = 128  # neighbours in Unicode, most of which are of one script
# Scripts that are larger: a window of theirs would tell which of the common names it was.
_LARGE = (range(0x4E00, 0xA000), range(0xAC00, 0xD7A4), range(0x20000, 0x2A6E0))  # Chinese, Korean, rare Chinese
_REPLACED = (
    "L",
    "M",
    "N",
    "S",
    "Cn",
    "Co",
)  # letters, marks, digits, signs such as emoji, and what this Python knows no name of


class Pseudonyms:
    """The pseudonyms of one case; asking twice for a text gives the same one."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()
        self._ids: dict[int, int] = {}

    def person_id(self, person_id: int) -> int:
        """Another id for a person of Marketo, in the order in which they are asked for."""
        return self._ids.setdefault(person_id, len(self._ids) + 1)

    def of(self, text: str, kind: FieldType = FieldType.TEXT) -> str:
        """The pseudonym of a value of this type; what is no value of it is text."""
        if kind is FieldType.BOOLEAN and text in ("true", "false"):
            return text
        if kind in (FieldType.DATE, FieldType.DATETIME) and _DAY.fullmatch(text):
            return self._once("day", text, _other_day)
        if kind in (FieldType.INTEGER, FieldType.DECIMAL) and NUMBER.fullmatch(text):
            return self._once("number", text, _other_number)
        return self.id(text)

    def id(self, text: str) -> str:
        """The pseudonym of an id or a text; of the key of a company that of what it is made of."""
        head, colon, rest = text.partition(":")
        if colon and head in ("lead", "contact"):
            return f"{head}:{self.id(rest)}"
        if text.startswith(KEYLESS) and rest.isdecimal():
            return f"{KEYLESS}{self.person_id(int(rest))}"
        if GUID.fullmatch(text) and text in (text.lower(), text.upper()):
            other = self._once("guid", text.lower(), _other_guid)
            return other if text == text.lower() else other.upper()
        small = "".join(map(_small, text))
        other = self._once("text", small, _other_text)
        return "".join(new.upper() if old != low else new for old, low, new in zip(text, small, other, strict=True))

    def _once(self, kind: str, text: str, other: Callable[[str, random.Random], str]) -> str:
        if (kind, text) in self._given:
            return self._given[kind, text]
        found = text
        for number in range(_TRIES):
            seed = hmac.new(
                self._key, f"{kind}:{number}:{text}".encode("utf-8", "surrogatepass"), hashlib.sha256
            ).digest()
            found = other(text, random.Random(seed))  # noqa: S311 (seeded by a secret; only its even spread matters)
            if found != text and (kind, found) not in self._taken:
                break
        self._given[kind, text] = found
        self._taken.add((kind, found))
        return found


def _other_guid(text: str, chance: random.Random) -> str:
    return "".join(chance.choice("0123456789abcdef") if sign != "-" else sign for sign in text)


def _other_number(text: str, chance: random.Random) -> str:
    """As many digits before and behind the point; a zero stays one, because much depends on it."""
    if not text.strip("+-0."):
        return text
    digits = [chance.choice("123456789") if sign in "123456789" else sign for sign in text]
    return "".join(digits)


def _other_day(text: str, chance: random.Random) -> str:
    first, last = (1600, _OLDEST - 1) if int(text[:4]) < _OLDEST else (1930, 2030)
    day = date.fromordinal(chance.randint(date(first, 1, 1).toordinal(), date(last, 12, 31).toordinal())).isoformat()
    if len(text) == len(day):
        return day
    time = f"T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}Z"
    return day + ("T00:00:00Z" if text.endswith("T00:00:00Z") else time)


def _other_text(text: str, chance: random.Random) -> str:
    return "".join(chance.choice(_alike(sign)) for sign in text)


def _small(sign: str) -> str:
    """A capital's small letter, where either leads to the other; anything else itself."""
    return sign.lower() if _has_capital(sign.lower()) and sign.lower().upper() == sign else sign


def _has_capital(sign: str) -> bool:
    capital = sign.upper()
    return len(capital) == 1 and unicodedata.category(capital) == "Lu" and capital.lower() == sign


@cache
def _alike(sign: str) -> str:
    """The signs that may stand for this one: of its script, its case and its size; itself alone if it stays."""
    category = unicodedata.category(sign)
    if not category.startswith(_REPLACED):
        return sign
    first = ord(sign) // _WINDOW * _WINDOW
    window = next((large for large in _LARGE if ord(sign) in large), range(first, first + _WINDOW))
    script = "" if category[0] == "S" else unicodedata.name(sign, "").split(" ")[0]
    found = _signs(window, category, script)
    return (_with_capitals(found) if category == "Ll" else found) or sign


@cache
def _signs(window: range, category: str, script: str) -> str:
    """The signs of this part of Unicode that are of this category and, unless it is empty, of this script."""
    return "".join(
        sign
        for sign in map(chr, window)
        if unicodedata.category(sign) == category and unicodedata.name(sign, "").startswith(script)
    )


@cache
def _with_capitals(signs: str) -> str:
    return "".join(filter(_has_capital, signs)) or signs
