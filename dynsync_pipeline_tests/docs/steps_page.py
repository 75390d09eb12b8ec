"""Writes `docs/steps.md` from the headers of the SQL files: `python -m dynsync_pipeline_tests.docs.steps_page > docs/steps.md`.

Not here: which chains there are, and whether the headers are true (`sql_relations.py`, `test_steps.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from dynsync_pipeline.sql_files import SqlFile, sql_file
from dynsync_pipeline_tests.docs.sql_relations import CHAINS, Chain

OPENING = """# Steps

The rules of the sync are SQL files, which `dynsync_pipeline/sql_files.py` runs one after another.
Each opens with what it does, what it reads, what it makes and what it changes.
What it makes are temporary tables, each with its grain; what it changes is there for good.
Tests hold these headers against the statements, and the order of the files against the headers.
Whatever a chain makes is dropped before its first file runs, so that no file can read what an earlier run left.

To see a table that the plan makes, for the next cycle and without changing anything:

```sh
dynsync plan --step differing_fields --person 1234
```

Where a statement cannot be run, the error names file, statement and line.
`dynsync --debug sync` and `dynsync --debug plan` tell each statement with its rows and milliseconds, and each request.

This page is generated; the tests say how when it is out of date.
"""


def steps_page() -> str:
    """What `docs/steps.md` must be."""
    return OPENING + "".join(part for chain in CHAINS for part in _shown(chain))


def _shown(chain: Chain) -> Iterable[str]:
    yield f"\n## {chain.title}\n\n{chain.does}\n"
    steps = [sql_file(step) for step in chain.steps]
    if len(steps) > 1 and any(file.makes for file in steps):
        yield f"\n```mermaid\nflowchart TD\n{''.join(_arrows(steps))}```\n"
    if chain.given:
        yield f"\nGiven: {_listed(chain.given)}.\n"
    for file in steps:
        yield f"\n### {_name(file)}\n\n`{file.path}`: {file.does}\n\n"
        yield f"- reads {_listed(file.reads)}\n"
        for table, grain in file.makes.items():
            yield f"- makes `{table}`: {grain}\n"
        yield f"- changes {_listed(file.changes)}\n"


def _arrows(steps: list[SqlFile]) -> Iterable[str]:
    """One arrow from each file to those that read a temporary table of it, with the tables that pass."""
    for place, file in enumerate(steps):
        yield f"    {_name(file)}\n"
        for later in steps[place + 1 :]:
            if passed := [table for table in file.makes if table in later.reads]:
                yield f"    {_name(file)} -->|{'<br>'.join(passed)}| {_name(later)}\n"


def _name(file: SqlFile) -> str:
    return file.path.rpartition("/")[2].removesuffix(".sql")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


if __name__ == "__main__":
    print(steps_page(), end="")
