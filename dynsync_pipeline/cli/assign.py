"""`dynsync assign`: gives the records of people of Marketo another owner, from the command line (docs/requests.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dynsync_pipeline.cli.asking import AsJson, CsvFile, Person, ask, people_of, require_text
from dynsync_pipeline.cli.output import app
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import Wish


@app.command(
    help="Give the leads and contacts of people of Marketo another owner in Dynamics, at once if no cycle runs.\n\n"
    "Whoever is neither becomes one first.\n\n"
    "Exit codes: 0 done or queued, 1 failed or one was refused, 2 settings or options wrong."
)
def assign(
    owner: Annotated[str, typer.Option(help="Name or e-mail address of the user who is to own the records.")],
    person: Person = None,
    csv_file: CsvFile = None,
    record_type: Annotated[
        Literal["lead", "contact"], typer.Option("--as", help="What whoever is no record yet becomes.")
    ] = "lead",
    as_json: AsJson = False,
) -> None:
    """Print what became of each; end with 1 if one was refused. Raises: DynSyncError."""
    require_text("--owner", owner)
    people = people_of(person, csv_file)
    ask([Wish(each, RecordType(record_type), "push", owner, kind="owner") for each in people], as_json=as_json)
