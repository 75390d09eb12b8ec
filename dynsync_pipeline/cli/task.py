"""`dynsync task`: makes tasks for the records of people of Marketo, from the command line (docs/requests.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dynsync_pipeline.cli.asking import AsJson, CsvFile, Person, ask, people_of, require_text
from dynsync_pipeline.cli.output import app
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.store import LONGEST_TIME_DAYS, Task, Wish


@app.command(
    help="Make a task in Dynamics for each of these people of Marketo, at once if no cycle runs.\n\n"
    "Whoever is neither lead nor contact becomes one first.\n\n"
    "Exit codes: 0 done or queued, 1 failed or one was refused, 2 settings or options wrong."
)
def task(
    subject: Annotated[str, typer.Option(help="What is to be done.")],
    person: Person = None,
    csv_file: CsvFile = None,
    description: Annotated[str | None, typer.Option(help="More of it.")] = None,
    due_in_days: Annotated[int, typer.Option(min=0, max=LONGEST_TIME_DAYS, help="When it is due.")] = 5,
    priority: Annotated[Literal["low", "normal", "high"], typer.Option(help="How much it matters.")] = "normal",
    owner: Annotated[
        str | None, typer.Option(help="Name or e-mail address of the user who is to do it, else who owns the record.")
    ] = None,
    record_type: Annotated[
        Literal["lead", "contact"], typer.Option("--as", help="What whoever is no record yet becomes.")
    ] = "lead",
    as_json: AsJson = False,
) -> None:
    """Print what became of each; end with 1 if one was refused. Raises: DynSyncError."""
    require_text("--owner", owner)
    people = people_of(person, csv_file)
    try:
        wanted = Task(subject, description, due_in_days, priority)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None
    wishes = [Wish(each, RecordType(record_type), "push", owner, kind="task", task=wanted) for each in people]
    ask(wishes, as_json=as_json)
