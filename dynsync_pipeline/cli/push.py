"""`dynsync push`: asks that people of Marketo become leads or contacts, from the command line (docs/requests.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dynsync_pipeline.cli.asking import AsJson, CsvFile, Person, ask, people_of, require_text
from dynsync_pipeline.cli.output import app
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import Wish


@app.command(
    help="Ask that people of Marketo become leads or contacts in Dynamics, and serve that at once if no cycle runs.\n\n"
    "Whoever is in the sync already is left alone.\n\n"
    "Exit codes: 0 done or queued, 1 failed or one was refused, 2 settings or options wrong."
)
def push(
    record_type: Annotated[Literal["lead", "contact"], typer.Option("--as", help="What they become.")],
    person: Person = None,
    csv_file: CsvFile = None,
    owner: Annotated[str | None, typer.Option(help="Name or e-mail address of the user who owns the records.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what became of each; end with 1 if one was refused. Raises: DynSyncError."""
    require_text("--owner", owner)
    people = people_of(person, csv_file)
    ask([Wish(each, RecordType(record_type), "push", owner) for each in people], as_json=as_json)
