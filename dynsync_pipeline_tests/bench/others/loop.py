"""What anybody would write by hand: pages to files, and DuckDB reads these."""

import json
from pathlib import Path

import duckdb
import httpx

task = json.loads(Path("task.json").read_text("utf-8"))
headers = {"Authorization": f"Bearer {task['token']}", "Prefer": f"odata.maxpagesize={task['page_size']}"}
url = f"{task['url']}/api/data/v9.2/contacts?$select={','.join(task['columns'])}"
files: list[str] = []
with httpx.Client(headers=headers, verify=task["ca_file"], timeout=60, trust_env=False) as client:
    while url:
        body = client.get(url).raise_for_status().content
        files.append(f"{len(files)}.json")
        Path(files[-1]).write_bytes(body)
        found = body.partition(b'"@odata.nextLink":"')[2].partition(b'"')[0]  # before the rows or behind them
        url = json.loads(b'"%s"' % found) if found else ""
with duckdb.connect("contacts.duckdb") as connection:
    connection.execute(
        "create table contacts as select unnest(rows) from (select unnest(value) as rows from read_json(?))", [files]
    )
