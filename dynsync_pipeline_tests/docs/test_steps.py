"""The headers of the SQL files say what their statements do, and the order of the files follows from the headers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import dynsync_pipeline
from dynsync_pipeline.extract import changed_columns
from dynsync_pipeline.sql_files import SqlFile, run_steps, sql_file
from dynsync_pipeline_tests.docs.sql_relations import CHAINS, Chain, Relations, all_steps, relations
from dynsync_pipeline_tests.docs.steps_page import steps_page

DOCS = Path(dynsync_pipeline.__file__).parents[1] / "docs"
TEMPORARY = {table for step in all_steps() for table in sql_file(step).makes} | {
    table for chain in CHAINS for table in chain.given
}


def untrue(file: SqlFile) -> list[str]:
    """Names that stand in one of header and statements alone."""
    header = Relations(set(file.reads), set(file.makes), set(file.changes))
    text = relations(file, TEMPORARY)
    return [
        f"{file.path} {what}: {', '.join(sorted(said ^ done))}"
        for what, said, done in zip(Relations._fields, header, text, strict=True)
        if said != done
    ]


def unmade(chain: Chain) -> list[str]:
    """Temporary tables that a file of the chain reads before another makes them."""
    made = set(chain.given)
    missing = []
    for step in chain.steps:
        file = sql_file(step)
        missing += [f"{file.path} reads {table}" for table in file.reads if table in TEMPORARY and table not in made]
        made |= file.makes.keys()
    return missing


def test_every_header_says_what_the_statements_read_make_and_change() -> None:
    assert [fault for step in sorted(all_steps()) for fault in untrue(sql_file(step))] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("carried_over from differing_fields", "carried_over from compared_links", "reads: compared_links"),
        ("left join state.unsettled w", "left join state.links w", "reads: state.links, state.unsettled"),
        ("create temp table field_outcomes", "create temp table outcomes", "makes: field_outcomes, outcomes"),
        ("from decided;", "from decided; delete from state.base;", "changes: state.base"),
    ],
)
def test_a_header_that_is_not_true_is_found(old: str, new: str, fault: str) -> None:
    file = sql_file("reconcile/field_outcomes")
    assert old in file.text
    assert untrue(replace(file, text=file.text.replace(old, new))) == [f"{file.path} {fault}"]


def test_every_table_that_a_step_reads_was_made_by_a_step_before() -> None:
    assert [fault for chain in CHAINS for fault in unmade(chain)] == []


def test_two_steps_that_change_places_are_found() -> None:
    (plan,) = (chain for chain in CHAINS if chain.title == "The plan")
    swapped = list(plan.steps)
    first, second = (swapped.index(f"reconcile/{name}") for name in ("differing_fields", "field_outcomes"))
    swapped[first], swapped[second] = swapped[second], swapped[first]
    assert unmade(plan._replace(steps=tuple(swapped))) == ["reconcile/sql/field_outcomes.sql reads differing_fields"]


def test_every_insert_names_its_columns() -> None:
    """A column that joins a table must not shift the others."""
    package = DOCS.parent / "dynsync_pipeline"
    files = [*package.rglob("*.sql"), *(file for file in package.rglob("*.py") if "emulators" not in file.parts)]
    named = re.compile(r"insert into [\w.{}]+\s*\"?\s*f?\"?\s*(?:\(|by name)")
    nameless = [
        f"{file.relative_to(package)}: {found[0]}"
        for file in files
        for found in re.finditer(r"insert into [\w.{}]+[^\n]*\n?[^\n]*", file.read_text("utf-8"))
        if not named.match(found[0])
    ]
    assert nameless == []


def test_every_sql_file_runs_in_some_chain() -> None:
    assert all_steps() == {step for chain in CHAINS for step in chain.steps}


def test_a_table_has_one_maker_in_a_chain() -> None:
    for chain in CHAINS:
        made = [table for step in chain.steps for table in sql_file(step).makes]
        assert len(made) == len(set(made)), chain.title


def test_every_code_that_a_file_writes_has_a_sentence_and_every_sentence_a_code_that_is_written() -> None:
    connection = duckdb.connect()
    run_steps(connection, ("warehouse/codes",))
    told = {row[0] for row in connection.execute("select code from codes").fetchall()}
    written = set()
    for step in all_steps() - {"warehouse/codes"}:
        text = re.sub(r"--[^\n]*", "", sql_file(step).text)
        written |= set(re.findall(r"'([a-z_]+)'", text)) & told
    answers = {"waiting", "changed_meanwhile"}  # outcomes of receipts, which write_back/receipts.py writes
    untold = {
        "edit_untold",
        "creation_untold",
        "deletion_untold",
        "feed_forgot",
    }  # findings, which extract/untold.py writes
    # Of requests, back-fills and entries in Marketo's log, which Python writes.
    ended = {"owner_unknown", "not_linked", "done", "stopped", "told", "given_up"}
    schema = set(re.findall(r"'((?:column|option)_[a-z_]+)'", Path(changed_columns.__file__).read_text("utf-8")))
    assert schema <= told
    assert told - written - answers - untold - ended - schema == set()
    # What is written to a code column directly, or by a case of its own.
    for step in all_steps():
        text = sql_file(step).text
        for case in re.findall(
            r"case\s((?:(?!\bcase\b|\bend as\b).)*?)end as (?:rule_code|reason_code)", text, re.DOTALL
        ):
            assert set(re.findall(r"(?:then|else) '([a-z_]+)'", case)) <= told, step
        assert set(re.findall(r"'([a-z_]+)' as (?:rule_code|reason_code)", text)) <= told, step


def test_the_page_of_the_steps_is_generated() -> None:
    assert (DOCS / "steps.md").read_text("utf-8") == steps_page(), (
        "write it anew: python -m dynsync_pipeline_tests.docs.steps_page > docs/steps.md"
    )
