"""The pages in `docs/`, and links everywhere: nothing is named that is not there."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from dynsync_pipeline_tests.docs.snapshot_page import snapshot_page

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "data" / "README.md"])
RULES = (DOCS / "rules.md").read_text("utf-8")


@cache
def names_in(folder: Path) -> frozenset[str]:
    trees = (ast.parse(file.read_text("utf-8")) for file in folder.glob("test_*.py"))
    return frozenset(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def rows_of_rules() -> list[tuple[list[int], str, str]]:
    """Every line of the tables: the numbers of its rules, where they live, their test."""
    rows = []
    for line in RULES.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| R"):
            numbers = [int(number) for number in re.findall(r"R(\d+)", cells[0])]
            if " to " in cells[0]:
                numbers = list(range(numbers[0], numbers[1] + 1))
            rows.append((numbers, cells[2], cells[3]))
    return rows


def test_the_page_of_the_snapshot_is_what_is_published() -> None:
    assert (DOCS / "snapshot.md").read_text("utf-8") == snapshot_page(), (
        "out of date: python -m dynsync_pipeline_tests.docs.snapshot_page > docs/snapshot.md"
    )


def test_every_rule_stands_once_in_order() -> None:
    numbers = list(chain.from_iterable(numbers for numbers, _, _ in rows_of_rules()))
    assert numbers == list(range(1, 133))


def test_every_file_that_holds_a_rule_is_there() -> None:
    named = {name for _, where, _ in rows_of_rules() for name in re.findall(r"`([\w/]+\.\w+)`", where)}
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / "dynsync_pipeline" / name).is_file()] == []


def test_every_test_of_a_rule_is_there() -> None:
    named = set(re.findall(r"`([\w/]+)::(test_\w+)`", RULES))
    assert len(named) > 60
    for folder, name in sorted(named):
        assert name in names_in(ROOT / "dynsync_pipeline_tests" / folder), f"{folder}::{name}"


def test_a_rule_without_a_test_is_said_to_be_so() -> None:
    """A line names one test, or says that there is none."""
    for numbers, _, test in rows_of_rules():
        assert test == "none" or re.fullmatch(r"`[\w/]+::test_\w+`", test), numbers


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_place_on_somebodys_machine(page: Path) -> None:
    assert re.findall(r"(?:/home/|/work/|/tmp/|/root/)\S*", page.read_text("utf-8")) == []
