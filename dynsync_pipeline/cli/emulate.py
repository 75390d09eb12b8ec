"""`dynsync emulate`: serves both emulators in the foreground, for development and for trying things with curl."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from dynsync_pipeline.cli.emulating import emulating
from dynsync_pipeline.cli.output import app, prints_to


@app.command()
def emulate(
    dataverse_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Dataverse emulator; 0: the last one or a free one.")
    ] = 0,
    marketo_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Marketo emulator; 0: the last one or a free one.")
    ] = 0,
    accounts: Annotated[int, typer.Option(min=0, help="Accounts in a new state folder.")] = 50,
    contacts: Annotated[int, typer.Option(min=0, help="Contacts in a new state folder.")] = 500,
    leads: Annotated[int, typer.Option(min=0, help="Leads in a new state folder.")] = 200,
    people: Annotated[int, typer.Option(min=0, help="People that only Marketo knows, in a new state folder.")] = 200,
    empty: Annotated[bool, typer.Option("--empty", help="No sample data at all.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 0,
    state: Annotated[Path, typer.Option(help="Folder of the emulators' state and of emulator.env.")] = Path(
        "data/emulator"
    ),
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Also serve everything over plain HTTP.")] = False,
    time_scale: Annotated[float, typer.Option(min=0.001, help="How many times faster Marketo's minutes pass.")] = 60.0,
) -> None:
    """Serve a local Dataverse and a local Marketo on 127.0.0.1 until Ctrl-C.

    Writes emulator.env into the state folder: every setting that the pipeline needs, and addresses and tokens for curl.

    Exit codes: 0 ended by Ctrl-C or a signal, 1 failed, or the emulators are not installed.
    """
    numbers = (0, 0, 0, 0) if empty else (accounts, contacts, leads, people)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with emulating():
        from dynsync_pipeline.emulators.running import Emulators

        with Emulators(
            state,
            dataverse_port=dataverse_port,
            marketo_port=marketo_port,
            n_accounts=numbers[0],
            n_contacts=numbers[1],
            n_leads=numbers[2],
            n_people=numbers[3],
            seed=seed,
            plain_http=plain_http,
            time_scale=time_scale,
        ) as emulators:
            env_file = state / "emulator.env"
            prints_to.print(f"Dataverse  {emulators.environment['DATAVERSE_URL']}", highlight=False)
            prints_to.print(f"Marketo    {emulators.environment['MARKETO_URL']}", highlight=False)
            prints_to.print(f"Settings   {env_file}", highlight=False)
            prints_to.print(f"\nSync them:   set -a; . {env_file}; set +a; dynsync sync", highlight=False)
            prints_to.print("End:         Ctrl-C", highlight=False)
            ended.wait()
