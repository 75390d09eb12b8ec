"""Where comments and pages point: the anchors of each page, the rules, the items of the checklists, and who cites what.

Not here: the tests that resolve them (`test_citations.py`), and those of the emulators, which count a checklist's items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
TEXT = (".py", ".sql", ".md", ".csv", ".yaml", ".toml")
# docs/design.md#guards; further anchors of the same page follow after commas, and items after #checklist.
_CITATION = re.compile(r"\bdocs/([\w/-]+\.md)((?:(?:,\s+)?#[\w-]+(?: \d+(?: to \d+)?(?:, \d+(?: to \d+)?)*)?)*)")
_ANCHOR = re.compile(r"#([\w-]+)((?: \d+(?: to \d+)?(?:, \d+(?: to \d+)?)*)?)")


class Citation(NamedTuple):
    """A page under `docs/`, with anchor and numbers of checklist items where these are named."""

    page: str
    anchor: str | None
    items: tuple[int, ...] = ()


@cache
def files() -> tuple[Path, ...]:
    """Every text file that may cite something: package, tests, pages, and what lies at the top of the repository."""
    folders = [ROOT / name for name in ("dynsync_pipeline", "dynsync_pipeline_tests", "docs")]
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in TEXT]
    top = [path for path in ROOT.iterdir() if path.suffix in TEXT or path.name in ("Makefile", ".env.example")]
    return tuple(sorted([*found, *top, ROOT / "data" / "README.md"]))


@cache
def text_of(path: Path) -> str:
    """The text of a file; read once."""
    return path.read_text("utf-8")


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """The anchors that a page's headings have on GitHub."""
    text = re.sub(r"^```.*?^```", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings)


def citations(text: str) -> Iterator[Citation]:
    """Every page, anchor and item that a text cites. A comment's citation may go on in its next line."""
    joined = re.sub(r",\n\s*(?:--|#(?= )|//)?\s*(?=#)", ", ", text)
    for page, anchors in _CITATION.findall(joined):
        if not anchors:
            yield Citation(page, None)
        for anchor, numbers in _ANCHOR.findall(anchors):
            items: list[int] = []
            for first, last in re.findall(r"(\d+)(?: to (\d+))?", numbers):
                items += range(int(first), int(last or first) + 1)
            yield Citation(page, anchor, tuple(items))


def rules_of_page() -> frozenset[int]:
    """Numbers of the rules that docs/sync-rules.md states, by its headings."""
    return frozenset(
        int(number) for number in re.findall(r"^#+ R(\d+)$", text_of(DOCS / "sync-rules.md"), re.MULTILINE)
    )


def n_items_of_checklist(protocol: str) -> int:
    """How many items the checklist of `dataverse` or `marketo` has; they must be numbered without a gap."""
    page = text_of(DOCS / "protocols" / f"{protocol}.md")
    (checklist,) = re.findall(r"^## Checklist\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", checklist, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)
