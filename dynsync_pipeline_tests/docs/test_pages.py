"""The pages in `docs/`, and links everywhere: nothing is named that is not there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from dynsync_pipeline_tests.docs.citations import anchors_of
from dynsync_pipeline_tests.docs.dbt_sources import dbt_sources
from dynsync_pipeline_tests.docs.snapshot_page import snapshot_page

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "dynsync_pipeline").rglob("*.md"), ROOT / "data" / "README.md"]
)
RULES = (DOCS / "rules.md").read_text("utf-8")


class Row(NamedTuple):
    """One line of the tables in docs/rules.md."""

    numbers: tuple[int, ...]
    state: str
    words: str
    files: tuple[str, ...]
    test: str


STATES = ("kept", "partly", "otherwise", "not built", "no matter")


def numbers_in(text: str) -> Iterator[int]:
    """Numbers of the rules that a text names, `R71 to R76` included."""
    for first, last in re.findall(r"\bR(\d+)(?: to R(\d+))?", text):
        yield from range(int(first), int(last or first) + 1)


def rows_of_rules() -> list[Row]:
    rows = []
    for line in RULES.splitlines():
        if line.startswith("| R"):
            rule, state, words, where, test = [cell.strip() for cell in line.strip("|").split("|")]
            rows.append(Row(tuple(numbers_in(rule)), state, words, tuple(re.findall(r"`([\w/]+\.\w+)`", where)), test))
    return rows


@cache
def sources_of_tests(folder: Path) -> dict[str, str]:
    """What stands in each test of a folder, its module's docstring included."""
    found = {}
    for file in folder.glob("test_*.py"):
        text = file.read_text("utf-8")
        tree, lines = ast.parse(text), text.splitlines()
        of_all = re.findall(r"\b(story|deep)\b", "".join(re.findall(r"^pytestmark = .*", text, re.MULTILINE)))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                marks = "".join(f"@{mark}\n" for mark in [*of_all, *map(ast.unparse, node.decorator_list)])
                body = "\n".join(
                    lines[node.lineno - 1 : node.end_lineno]
                )  # ast.get_source_segment splits it anew each time
                found[node.name] = f"{ast.get_docstring(tree)}\n{marks}{body}"
    return found


def is_left_out(test: str) -> bool:
    """Whether `make test` does not run a test, whose source begins with its decorators."""
    return re.search(r"^@(story|deep)$", test, re.MULTILINE) is not None


def names_rule(number: int, text: str) -> bool:
    """Whether a text names a rule: `R35`, or `_r35_` in the name of a test."""
    return bool(re.search(rf"\bR{number}\b|_r{number}_", text)) or number in set(numbers_in(text))


def test_the_page_of_the_snapshot_is_what_is_published() -> None:
    assert (DOCS / "snapshot.md").read_text("utf-8") == snapshot_page(), (
        "out of date: python -m dynsync_pipeline_tests.docs.snapshot_page > docs/snapshot.md"
    )


def test_the_sources_for_dbt_are_what_is_published() -> None:
    assert (DOCS / "dbt" / "sources.yml").read_text("utf-8") == dbt_sources(), (
        "out of date: python -m dynsync_pipeline_tests.docs.dbt_sources > docs/dbt/sources.yml"
    )


def test_every_rule_stands_once_in_order() -> None:
    assert [number for row in rows_of_rules() for number in row.numbers] == list(range(1, 133))


def test_every_rule_has_a_state_of_the_list_and_words() -> None:
    assert [row.numbers for row in rows_of_rules() if row.state not in STATES or not row.words] == []


def test_a_rule_that_is_kept_names_its_file_unless_it_forbids_something() -> None:
    nowhere = {
        number for row in rows_of_rules() if row.state in ("kept", "partly") and not row.files for number in row.numbers
    }
    assert nowhere == {27}, "it says what nothing does"


def test_a_rule_that_is_not_built_names_neither_file_nor_test() -> None:
    for row in rows_of_rules():
        if row.state in ("not built", "no matter"):
            assert (row.files, row.test) == ((), "none"), row.numbers


def test_every_file_that_holds_a_rule_is_there_and_one_of_them_names_the_rule() -> None:
    package = ROOT / "dynsync_pipeline"
    missing, silent = set(), set()
    for row in rows_of_rules():
        missing |= {name for name in row.files if not (package / name).is_file()}
        texts = [(package / name).read_text("utf-8") for name in row.files if (package / name).is_file()]
        if row.files and not all(name.endswith(".csv") for name in row.files):  # a CSV has no room for comments
            silent |= {number for number in row.numbers if not any(names_rule(number, text) for text in texts)}
    assert missing == set()
    assert silent == set()


def test_every_test_of_a_rule_is_there_and_names_the_rule() -> None:
    silent = []
    for row in rows_of_rules():
        if row.test == "none":
            continue
        match = re.fullmatch(r"`([\w/]+)::(test_\w+)`", row.test)
        assert match, row.numbers
        tests = sources_of_tests(ROOT / "dynsync_pipeline_tests" / match[1])
        assert match[2] in tests, row.test
        assert not is_left_out(tests[match[2]]), f"make test does not run {row.test}"
        silent += [f"R{number}: {match[2]}" for number in row.numbers if not names_rule(number, tests[match[2]])]
    assert silent == []


@pytest.mark.parametrize(("state", "heading"), [("otherwise", "Done otherwise"), ("not built", "Not built")])
def test_what_is_not_as_the_rule_says_is_told_to_users(state: str, heading: str) -> None:
    page = (DOCS / "differences.md").read_text("utf-8")
    (told,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    of_state = {number for row in rows_of_rules() if row.state == state for number in row.numbers}
    assert sorted(of_state - set(numbers_in(told))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if not target.startswith("https://"):
            name, _, anchor = target.partition("#")
            leads_to = page.parent / name if name else page
            assert leads_to.exists(), target
            assert not anchor or anchor in anchors_of(leads_to), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_place_on_somebodys_machine(page: Path) -> None:
    assert re.findall(r"(?:/home/|/work/|/tmp/|/root/)\S*", page.read_text("utf-8")) == []
