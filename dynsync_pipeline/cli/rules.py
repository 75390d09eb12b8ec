"""Where the numbered rules that a table names are told. Not here: the rules themselves (docs/sync-rules.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rich.style import Style
from rich.text import Text

PAGE = Path("docs", "sync-rules.md")
_RULE = re.compile(r"\bR(\d{1,3})\b")


def rules_line(texts: Iterable[str | None]) -> Text | None:
    """A line that leads from each rule that these texts name to its place on the page; None where they name none.

    In a clone of the repository the numbers are links, which most terminals open.
    """
    numbers = sorted({int(number) for text in texts for number in _RULE.findall(text or "")})
    if not numbers:
        return None
    page = Path(__file__).parents[2] / PAGE
    told = [Text(f"R{n}", Style(link=f"{page.as_uri()}#r{n}") if page.exists() else "") for n in numbers]
    return Text.assemble("Rules: ", Text(", ").join(told), f" in {PAGE}", style="dim")
