"""Microsoft's own SDK for Python: pages become data frames, and DuckDB takes these."""

import json
import time
from pathlib import Path

import duckdb
from azure.core.credentials import AccessToken
from PowerPlatform.Dataverse.client import DataverseClient

task = json.loads(Path("task.json").read_text("utf-8"))


class Bearer:
    """The token that is there already."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        """As azure-identity's credentials do."""
        return AccessToken(task["token"], int(time.time()) + 3600)


names = ["contactid", *task["columns"]]
listed = ", ".join(f'"{name}"' for name in names)
with DataverseClient(task["url"], Bearer()) as client, duckdb.connect("contacts.duckdb") as connection:
    connection.execute("create table contacts (" + ", ".join(f'"{name}" varchar' for name in names) + ")")
    query = client.query.builder("contact").select(*task["columns"]).page_size(task["page_size"])
    for page in query.execute_pages():
        connection.register("page", page.to_dataframe())
        connection.execute(f"insert into contacts ({listed}) select {listed} from page")
        connection.unregister("page")
