"""Text comparison as SQL Server does it for Dataverse: case-insensitive, LIKE with `%`, `_`, `[]` and `[^]`."""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the SQL functions `fold(text)` and `dv_like(text, pattern)`, and LIKE's meaning."""
    connection.create_function("fold", 1, _fold, deterministic=True)
    connection.create_function("dv_like", 2, _like, deterministic=True)
    # SQLite asks this function for its LIKE operator, pattern first.
    connection.create_function("like", 2, lambda pattern, text: _like(text, str(pattern)), deterministic=True)


def _fold(text: str | bytes | int | float | None) -> str | bytes | int | float | None:
    return text.casefold() if isinstance(text, str) else text


def _like(text: object, pattern: str) -> bool | None:
    if text is None:
        return None
    return _compiled(pattern).fullmatch(str(text)) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for a LIKE pattern.

    Every part between two `%` has a fixed length, so its first place is as good as any other: atomic groups keep a
    hostile pattern from backtracking.
    """
    parts = _parts(pattern)
    if len(parts) == 1:
        return re.compile(parts[0], re.IGNORECASE | re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
    return re.compile(f"{parts[0]}{middle}.*{parts[-1]}", re.IGNORECASE | re.DOTALL)


def _parts(pattern: str) -> list[str]:
    """The pattern cut at each `%`, every piece as a regular expression."""
    parts = [""]
    i = 0
    while i < len(pattern):
        char = pattern[i]
        end = pattern.find("]", i + 1) if char == "[" else -1
        if char == "%":
            parts.append("")
        elif char == "_":
            parts[-1] += "."
        elif end > i + 1:
            parts[-1] += _one_of(pattern[i + 1 : end])
            i = end
        else:
            parts[-1] += re.escape(char)
        i += 1
    return parts


def _one_of(inside: str) -> str:
    """A character class; an upside-down range matches nothing, as in SQL Server."""
    negated = inside.startswith("^") and len(inside) > 1
    body = inside[1:] if negated else inside
    parts: list[str] = []
    i = 0
    while i < len(body):
        if i + 2 < len(body) and body[i + 1] == "-":
            if body[i] <= body[i + 2]:
                parts.append(f"{re.escape(body[i])}-{re.escape(body[i + 2])}")
            i += 3
        else:
            parts.append(re.escape(body[i]))
            i += 1
    if not parts:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(parts)}]"
