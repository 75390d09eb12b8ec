"""What people do in the demo, and how they do it: over HTTP, as a salesperson and a marketer would.

Not here: the cycles in between and what is shown (`demo.py`).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from dynsync_pipeline.settings import Settings


@dataclass(frozen=True)
class Scene:
    """One thing that people do to one record between two cycles, and what must stand on both sides afterwards.

    Values are keyed by the Marketo field; `columns` names each in Dynamics.
    """

    title: str
    record_type: str
    columns: dict[str, str]
    in_dynamics: dict[str, str | None]
    in_marketo: dict[str, str | None]
    after: dict[str, str | None]


CITY = {"city": "address1_city"}
SCENES = (
    Scene("Sales changes a contact's job title", "contact", {"title": "jobtitle"}, {"title": "Head of Sales"}, {},
          {"title": "Head of Sales"}),
    Scene("Marketing changes a contact's phone", "contact", {"phone": "telephone1"}, {}, {"phone": "+1 555 0100"},
          {"phone": "+1 555 0100"}),
    Scene("Both sides change different fields of a contact", "contact", {"title": "jobtitle", "phone": "telephone1"},
          {"title": "Buyer"}, {"phone": "+1 555 0101"}, {"title": "Buyer", "phone": "+1 555 0101"}),
    Scene("Both sides change the city of a contact", "contact", CITY, {"city": "Zürich"}, {"city": "Genève"},
          {"city": "Zürich"}),
    Scene("Both sides change the city of a lead", "lead", CITY, {"city": "大阪"}, {"city": "東京"}, {"city": "東京"}),
    Scene("Sales empties a contact's phone", "contact", {"mobilePhone": "mobilephone"}, {"mobilePhone": None}, {},
          {"mobilePhone": None}),
    Scene("Marketing empties a lead's job title", "lead", {"title": "jobtitle"}, {}, {"title": None}, {"title": None}),
    Scene("Both make the same edit to a lead", "lead", CITY, {"city": "Brno"}, {"city": "Brno"}, {"city": "Brno"}),
)  # fmt: skip
COLLIDES = 3  # of which scene's person `dynsync explain` is worth a look


@dataclass(frozen=True)
class Key:
    """A linked person, by its ids in both systems."""

    person_id: int
    record_id: str


class People:
    """A salesperson in Dynamics and a marketer in Marketo, each with a client of their own."""

    def __init__(self, environment: dict[str, str], settings: Settings) -> None:
        self._environment = environment
        self._trust = ssl.create_default_context(cafile=settings.ca_file)

    @contextmanager
    def at_work(self) -> Iterator[People]:
        """Signed in to both systems."""
        environment = self._environment
        with (
            httpx.Client(base_url=environment["DATAVERSE_URL"], verify=self._trust) as sales,
            httpx.Client(base_url=environment["MARKETO_URL"], verify=self._trust) as marketing,
        ):
            token = marketing.get(
                "/identity/oauth/token",
                params={
                    "grant_type": "client_credentials",
                    "client_id": environment["MARKETO_CLIENT_ID"],
                    "client_secret": environment["MARKETO_CLIENT_SECRET"],
                },
            )
            marketing.headers["Authorization"] = f"Bearer {_answered(token)['access_token']}"
            sales.headers["Authorization"] = f"Bearer {environment['DATAVERSE_TOKEN']}"
            self._sales, self._marketing = sales, marketing
            yield self

    def play(self, scene: Scene, key: Key) -> None:
        """Make the scene's edits on both sides."""
        if scene.in_dynamics:
            body = {scene.columns[field]: value for field, value in scene.in_dynamics.items()}
            self._sales.patch(
                f"/api/data/v9.2/{scene.record_type}s({key.record_id})", json=body, headers={"If-Match": "*"}
            ).raise_for_status()
        if scene.in_marketo:
            edit = {"action": "updateOnly", "lookupField": "id", "input": [{"id": key.person_id, **scene.in_marketo}]}
            _answered(self._marketing.post("/rest/v1/leads.json", json=edit))

    def create_lead(self, first: str, last: str) -> None:
        """Enter a new lead in Dynamics."""
        body = {"firstname": first, "lastname": last, "subject": "Met at the fair", "companyname": "Fabrikam"}
        self._sales.post("/api/data/v9.2/leads", json=body).raise_for_status()

    def qualify(self, lead_id: str) -> str:
        """Qualify a lead in Dynamics, with an account; returns the id of its contact."""
        body = {"CreateAccount": True, "CreateContact": True, "CreateOpportunity": False, "Status": -1}
        made = self._sales.post(f"/api/data/v9.2/leads({lead_id})/Microsoft.Dynamics.CRM.QualifyLead", json=body)
        return str(next(row["contactid"] for row in _answered(made)["value"] if "contactid" in row))

    def create_person(self, first: str, last: str) -> int:
        """Enter a new person in Marketo; returns its id."""
        new = {"action": "createDuplicate", "input": [{"firstName": first, "lastName": last}]}
        return int(_answered(self._marketing.post("/rest/v1/leads.json", json=new))["result"][0]["id"])

    def change_account(self, account_id: str, **values: str) -> None:
        """Edit an account in Dynamics."""
        self._sales.patch(
            f"/api/data/v9.2/accounts({account_id})", json=values, headers={"If-Match": "*"}
        ).raise_for_status()

    def delete_contact(self, key: Key) -> None:
        """Delete a contact in Dynamics."""
        self._sales.delete(f"/api/data/v9.2/contacts({key.record_id})").raise_for_status()

    def found(self, scene: Scene, key: Key) -> dict[str, tuple[str | None, str | None]]:
        """What now stands in Dynamics and in Marketo, by field."""
        record = self._sales.get(
            f"/api/data/v9.2/{scene.record_type}s({key.record_id})",
            params={"$select": ",".join(scene.columns.values())},
        )
        person = self._marketing.get(
            "/rest/v1/leads.json",
            params={"filterType": "id", "filterValues": str(key.person_id), "fields": ",".join(scene.columns)},
        )
        in_dynamics, in_marketo = _answered(record), _answered(person)["result"][0]
        return {field: (in_dynamics[column], in_marketo.get(field)) for field, column in scene.columns.items()}


def _answered(reply: httpx.Response) -> dict[str, Any]:
    reply.raise_for_status()
    body: dict[str, Any] = reply.json()
    if not body.get("success", True):
        raise RuntimeError(f"the emulator refused: {body['errors']}")
    return body
