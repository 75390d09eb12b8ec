"""Every reason that a comment gives by citing a page or a rule can be read: it stands in this repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dynsync_pipeline_tests.docs.citations import (
    DOCS,
    ROOT,
    Citation,
    anchors_of,
    citations,
    files,
    n_items_of_checklist,
    rules_of_page,
    text_of,
)

HERE = Path(__file__).parent
# These cited documents that a stranger never had.
GONE = re.compile(
    r"\bdesign,? \(?sections?\b|\bprotocol sheet|\bof the sheet\b|§|\breference/[\w-]+\.md|\.\./shared|\bsection_9\b|"
    r"\bsections? \d"
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_resolve() -> None:
    cited = {citation for path in files() for citation in citations(text_of(path))}
    assert len({citation.page for citation in cited}) >= 6
    assert len(cited) > 50


def test_every_page_and_anchor_that_is_cited_exists() -> None:
    dead = []
    for path in files():
        if path.parent == HERE:
            continue
        for citation in citations(text_of(path)):
            page = DOCS / citation.page
            if not page.is_file() or (citation.anchor and citation.anchor not in anchors_of(page)):
                dead.append(f"{name_of(path)}: docs/{citation.page}#{citation.anchor}")
    assert dead == []


def test_every_item_of_a_checklist_that_is_cited_exists() -> None:
    dead = []
    for path in files():
        for citation in citations(text_of(path)):
            if citation.anchor == "checklist":
                n_items = n_items_of_checklist(Path(citation.page).stem)
                dead += [f"{name_of(path)}: item {item}" for item in citation.items if not 1 <= item <= n_items]
    assert dead == []


def test_every_rule_that_is_cited_is_stated() -> None:
    stated = rules_of_page()
    assert stated == frozenset(range(1, 133))
    dead = [
        f"{name_of(path)}: R{number}"
        for path in files()
        if path.parent != HERE
        for number in re.findall(r"\bR(\d+)\b", text_of(path))
        if int(number) not in stated
    ]
    assert dead == []


def test_nothing_cites_a_document_that_is_not_here() -> None:
    dead = {name_of(path) for path in files() if path.parent != HERE and GONE.search(text_of(path))}
    assert sorted(dead) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see docs/design.md.", [Citation("design.md", None)]),
        ("(docs/design.md#guards)", [Citation("design.md", "guards")]),
        (
            "Source: docs/protocols/marketo.md#limits,\n#checklist 1, 3 to 5.",
            [Citation("protocols/marketo.md", "limits"), Citation("protocols/marketo.md", "checklist", (1, 3, 4, 5))],
        ),
        ("docs/a.md#b,\n# #c", [Citation("a.md", "b"), Citation("a.md", "c")]),
    ],
)
def test_a_citation_is_found_in_every_form(text: str, expected: list[Citation]) -> None:
    assert list(citations(text)) == expected
