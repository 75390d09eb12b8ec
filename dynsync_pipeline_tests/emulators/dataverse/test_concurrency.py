"""Readers and writers at the same time: whoever follows the delta links ends with exactly the truth."""

from __future__ import annotations

import random
import threading

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse

N_WRITES = 200  # and not for so long: a machine may be busy


def test_following_deltas_while_others_write_misses_nothing(dataverse: Dataverse) -> None:
    for n in range(60):
        dataverse.create("contacts", lastname=str(n))
    first = dataverse.row("contacts?$select=jobtitle", Prefer="odata.track-changes")
    seen = {row["contactid"]: row["jobtitle"] for row in first["value"]}
    ids, link = sorted(seen), str(first["@odata.deltaLink"])
    statuses: list[int] = []
    stop = threading.Event()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        with dataverse.client(dataverse.store.sales_token()) as http:
            while not stop.is_set():
                url = f"contacts({dice.choice(ids)})"
                kind = dice.random()
                if kind < 0.8:
                    answer = http.patch(url, json={"jobtitle": str(dice.random())})
                elif kind < 0.9:
                    answer = http.delete(url)
                else:
                    answer = http.post("contacts", json={"jobtitle": "new"})
                statuses.append(answer.status_code)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    for writer in writers:
        writer.start()
    while not stop.is_set():
        if len(statuses) >= N_WRITES or not any(writer.is_alive() for writer in writers):
            stop.set()
            for writer in writers:
                writer.join()
        url = link
        while url:
            page = dataverse.row(url, Prefer="odata.maxpagesize=7")
            for row in page["value"]:
                if "reason" in row:
                    seen.pop(row["id"], None)
                else:
                    seen[row["contactid"]] = row["jobtitle"]
            link = page.get("@odata.deltaLink", link)
            url = page.get("@odata.nextLink", "")
    assert set(statuses) == {204, 404} or set(statuses) == {204}
    assert len(statuses) >= N_WRITES
    assert seen == {row["contactid"]: row["jobtitle"] for row in dataverse.rows("contacts?$select=jobtitle")}
