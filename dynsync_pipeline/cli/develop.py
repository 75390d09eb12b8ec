"""`dynsync dev`: Dagster's UI and daemon, against the emulators where no real system is configured."""

from __future__ import annotations

from typing import Annotated

import typer

from dynsync_pipeline.cli.emulating import emulating
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.defs.development import require_free_port, run_dagster
from dynsync_pipeline.settings_sources import load_installation


@app.command()
def dev(port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI on 127.0.0.1.")] = 3000) -> None:
    """Serve Dagster's UI, with the sensor that keeps syncing; Ctrl-C ends it.

    Without DYNSYNC_DYNAMICS_URL and DYNSYNC_MARKETO_URL it starts both emulators with sample data and syncs these.

    Exit codes: 0 ended by Ctrl-C, 1 failed, or it needs the emulators and they are not installed, 2 settings wrong.
    """
    settings = load_installation()
    require_free_port(port)
    address = f"Dagster's UI: http://127.0.0.1:{port}   End: Ctrl-C"
    if settings.names_a_system or settings.pairs_dir is not None:
        prints_to.print(address, highlight=False)
        raise typer.Exit(run_dagster(settings, {}, port=port))
    state = settings.data_dir / "emulator"
    with emulating():
        from dynsync_pipeline.emulators.running import Emulators

        with Emulators(state, n_accounts=50, n_contacts=500, n_leads=200, n_people=200, time_scale=60) as emulators:
            prints_to.print(
                f"{address}\nNo system is configured: syncing two emulators; edit them with {state}/emulator.env",
                highlight=False,
            )
            code = run_dagster(settings, emulators.environment, port=port)
    raise typer.Exit(code)
