"""The systems of many pairs in one process: `python -m dynsync_pipeline_tests.pairs.systems FOLDER N_PAIRS N_BUSY`.

Makes the folders of the pairs in FOLDER/pairs, says `ready`, and serves until its input ends. Of the first N_BUSY pairs somebody
edits a contact every few seconds, over HTTP, as a person in Dynamics would.
"""

from __future__ import annotations

import itertools
import sys
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline_tests.pairs.folders import write_pair

EDIT_EACH_S = 10.0
SETTINGS = {
    "DYNSYNC_PAUSE_S": "10",
    "DYNSYNC_PAUSE_QUIET_S": "30",
    "DYNSYNC_RETRY_LIMIT_S": "5",
    "DYNSYNC_MARKETO_OLDEST_PERSON": f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}",  # a first load of one window
}


def names_of(n: int) -> list[str]:
    """Names of so many pairs."""
    return [f"pair{number:03}" for number in range(n)]


def main(folder: Path, n_pairs: int, n_busy: int) -> None:
    """Serve."""
    with ExitStack() as running:
        busy = []
        for number, name in enumerate(names_of(n_pairs)):
            emulators = Emulators(
                folder / "systems" / name,
                n_accounts=2,
                n_contacts=12,
                n_leads=4,
                n_people=4,
                seed=number,
                time_scale=600,
            )
            running.enter_context(emulators)
            write_pair(folder / "pairs" / name, emulators, **SETTINGS)
            busy += [emulators] if number < n_busy else []
        ended = threading.Event()
        editing = threading.Thread(target=_edit, args=(busy, ended))
        editing.start()
        print("ready", flush=True)
        sys.stdin.read()
        ended.set()
        editing.join()


def _edit(busy: list[Emulators], ended: threading.Event) -> None:
    """Give a contact of each another title, again and again."""
    clients = []
    for each in busy:
        headers = {"Authorization": f"Bearer {each.environment['DATAVERSE_TOKEN']}"}
        address = f"{each.environment['DATAVERSE_URL']}/api/data/v9.2/contacts"
        client = httpx.Client(verify=each.environment["DYNSYNC_CA_FILE"], headers=headers, timeout=60)
        contact = client.get(f"{address}?$select=contactid&$top=1").json()["value"][0]["contactid"]
        clients.append((client, f"{address}({contact})"))
    for number in itertools.count():
        for client, address in clients:
            client.patch(address, json={"jobtitle": f"Title {number}"}).raise_for_status()
        if ended.wait(EDIT_EACH_S):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
