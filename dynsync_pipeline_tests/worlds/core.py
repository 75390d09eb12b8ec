"""A world for the tests of accounts, deletions and refusals: companies, parents, ledgers, and time that passes.

What every world has is in `worlds/http.py`. Not here: what any rule says (the tests do).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dynsync_pipeline.emulators.dataverse.seeding import seed
from dynsync_pipeline_tests.worlds.http import FEW, HttpWorld, Write

LEDGERS = ("changes", "collisions", "activities", "account_changes", "sync_errors")
MUCH_LATER = "timestamp '9999-01-01'"  # what is looked at only after an edit or a release waits beyond this
Entry = tuple[Any, ...]
ACCOUNT = {"name": "Contoso", "address1_city": "Bern", "industrycode": 1, "revenue": 10, "telephone1": "+41 1"}
CONTACT = {"lastname": "Nakamura", "firstname": "Aiko", "jobtitle": "Buyer"}
LEAD = {"lastname": "Nakamura", "firstname": "Aiko", "jobtitle": "Buyer", "companyname": "Lead & Co", "revenue": 5}


class CoreWorld(HttpWorld):
    """A world in which each test takes, or brings, records of its own and looks only at them.

    It begins with synced accounts of two contacts each, and synced contacts and leads without an account, all alike.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fields: Collection[str] | None = FEW,
        n_accounts: int = 0,
        n_contacts: int = 0,
        n_leads: int = 0,
    ) -> None:
        super().__init__(folder, fields=fields)
        # A few people are a large share of a small world; the guards have tests of their own.
        self.environment["DYNSYNC_LARGEST_SHARE"] = "1"
        accounts = [str(uuid.uuid4()) for _ in range(n_accounts)]
        self._teams = {account: [str(uuid.uuid4()) for _ in range(2)] for account in accounts}
        self._waiting = {
            record_type: [str(uuid.uuid4()) for _ in range(n)]
            for record_type, n in (("contact", n_contacts), ("lead", n_leads))
        }
        people: list[tuple[str, str | None]] = [
            (person, account) for account, team in self._teams.items() for person in team
        ]
        people += [(person, None) for person in self._waiting["contact"]]
        seed(
            self.emulators.dataverse,
            [{**ACCOUNT, "accountid": account} for account in accounts],
            [{**CONTACT, "contactid": p, "parentcustomerid_account": account} for p, account in people],
            [{**LEAD, "leadid": lead} for lead in self._waiting["lead"]],
        )
        self.sync()

    def take_account(self) -> tuple[str, list[str]]:
        """An account that no other test has, and its contacts; all synced."""
        return self._teams.popitem()

    def take(self, record_type: str) -> tuple[str, int]:
        """A contact without account, or a lead, that no other test has, and its person; synced."""
        record_id = self._waiting[record_type].pop()
        return record_id, self.person_of(record_type, record_id)

    # -- what people do ------------------------------------------------------------------------------------------------

    def create_account(self, **values: object) -> str:
        """A salesperson enters an account."""
        return self.create_record("account", **{"name": "Contoso", **values})

    def create_contact(self, account_id: str | None = None, **values: object) -> str:
        """A salesperson enters a contact, of an account or of none."""
        if account_id is not None:
            values["parentcustomerid_account@odata.bind"] = f"/accounts({account_id})"
        return self.create_record("contact", **{"lastname": "Nakamura", **values})

    def move_contact(self, contact_id: str, account_id: str | None) -> None:
        """A salesperson moves a contact to another account, or out of any."""
        target = None if account_id is None else f"/accounts({account_id})"
        self.edit_record("contact", contact_id, **{"parentcustomerid_account@odata.bind": target})

    def delete_record(self, record_type: str, record_id: str) -> None:
        """A salesperson deletes a record."""
        answer = self.sales.delete(f"/api/data/v9.2/{record_type}s({record_id})")
        assert answer.status_code == 204, answer.text

    def qualify(self, lead_id: str, *, creates: bool = True) -> dict[str, str]:
        """A salesperson qualifies a lead; returns the ids of the account and contact that `creates` asks for, by type."""
        body = {"CreateAccount": creates, "CreateContact": creates, "CreateOpportunity": False, "Status": -1}
        answer = self.sales.post(f"/api/data/v9.2/leads({lead_id})/Microsoft.Dynamics.CRM.QualifyLead", json=body)
        assert answer.status_code == 200, answer.text
        return {row["@odata.type"].rpartition(".")[2]: row["@odata.id"][-37:-1] for row in answer.json()["value"]}

    def merge_records(self, record_type: str, winner: str, loser: str) -> None:
        """A salesperson merges a record into another of its type."""
        rows = [
            {"@odata.type": f"Microsoft.Dynamics.CRM.{record_type}", f"{record_type}id": i} for i in (winner, loser)
        ]
        body = {"Target": rows[0], "Subordinate": rows[1], "UpdateContent": {}, "PerformParentingChecks": False}
        answer = self.sales.post("/api/data/v9.2/Merge", json=body)
        assert answer.status_code == 204, answer.text

    def delete_person(self, person_id: int) -> None:
        """A marketer deletes a person."""
        answer = self.marketing.post("/rest/v1/leads/delete.json", json={"input": [{"id": person_id}]})
        assert [result["status"] for result in self.answered(answer)["result"]] == ["deleted"]

    def merge_people(self, winner: int, loser: int) -> None:
        """A marketer merges a person into another, inside Marketo."""
        self.answered(self.marketing.post(f"/rest/v1/leads/{winner}/merge.json", params={"leadId": str(loser)}))

    def edit_company(self, key: str, **values: object) -> None:
        """A marketer changes a company in Marketo."""
        body = {"action": "updateOnly", "dedupeBy": "dedupeFields", "input": [{"externalCompanyId": key, **values}]}
        results = self.answered(self.marketing.post("/rest/v1/companies.json", json=body))["result"]
        assert [result["status"] for result in results] == ["updated"], results

    # -- what there is -------------------------------------------------------------------------------------------------

    def company(self, key: str, *fields: str) -> dict[str, Any]:
        """These fields of the one company that bears a key."""
        found = self.companies(key, *fields)
        assert len(found) == 1, f"{len(found)} companies bear one key"
        return {field: found[0][field] for field in fields}

    def companies(self, key: str, *fields: str) -> list[dict[str, Any]]:
        """The companies that bear a key; any number."""
        answer = self.marketing.get(
            "/rest/v1/companies.json",
            params={"filterType": "externalCompanyId", "filterValues": key, "fields": ",".join(fields)},
        )
        return list(self.answered(answer)["result"])

    def values(self, person_id: int, *fields: str) -> tuple[Any, ...]:
        """The values of these fields of a person."""
        person = self.person(person_id, *fields)
        return tuple(person[field] for field in fields)

    def columns(self, record_type: str, record_id: str, *columns: str) -> tuple[Any, ...]:
        """The values of these columns of a record."""
        record = self.record(record_type, record_id)
        return tuple(record[column] for column in columns)

    # -- what DynSync did ----------------------------------------------------------------------------------------------

    @property
    def last_cycle(self) -> int:
        """The number of the last cycle that was published; 0 before the first."""
        if not (self.data_dir / "snapshot.duckdb").exists():
            return 0
        return int(self.query("select coalesce(max(cycle_id), 0) from cycles")[0][0])

    def sync_once(self) -> None:
        """One cycle; from now on `sent` and the ledger queries tell what it did."""
        self.first_cycle = self.last_cycle + 1
        self.dynamics.forget()
        self.marketo.forget()
        self.sync()
        self.sent = [*self.dynamics.writes, *self.marketo.writes]
        self.n_company_calls = self.marketo.paths.count("POST /rest/v1/companies.json")

    def settle(self) -> None:
        """Sync, and sync again: the second cycle writes nothing and logs nothing (R12)."""
        self.sync_once()
        noise: list[str] = []
        self.listen(noise)
        assert noise == []

    def settle_all(self, noise: list[str]) -> None:
        """As `settle`, for many scenarios at once: what the second cycle did goes to `noise`."""
        self.sync_once()
        self.listen(noise)

    def listen(self, noise: list[str]) -> None:
        """Sync, and note whatever was written, to a system or a ledger."""
        last_cycle, before = self.last_cycle, self.marks()
        self.dynamics.forget()
        self.marketo.forget()
        self.sync()
        noise += [str(write) for write in (*self.dynamics.writes, *self.marketo.writes)]
        for name in LEDGERS:
            noise += [f"{name}: {row}" for row in self.query(f"select * from {name} where cycle_id > ?", last_cycle)]
        if not noise and self.marks() != before:
            noise.append("a record, a person or Marketo's log moved")

    def sent_to(self, record: str | int, field: str) -> list[object]:
        """The values that the last settled cycle sent for a field of a record, person or company."""
        return [write.value for write in self.sent if write.record == str(record) and write.field == field]

    def sent_about(self, *records: str | int) -> list[Write]:
        """Everything that the last settled cycle sent for these records, people or companies."""
        return [write for write in self.sent if write.record in map(str, records)]

    def activities_of(self, person_id: int, activity_type: str = "Change Data Value") -> list[Entry]:
        """(field, old, new) of a person's entries in the last settled cycle, by field."""
        return self.query(
            "select field, old_value, new_value from activities where person_id_marketo = ? and activity_type = ? "
            "and cycle_id >= ? order by field",
            person_id, activity_type, self.first_cycle,
        )  # fmt: skip

    def account_changes_of(self, account_id: str) -> list[Entry]:
        """(field, old, new, contacts, suppressed) of an account in the last settled cycle, by field."""
        return self.query(
            "select field, old_value, new_value, n_contacts, activities_suppressed from account_changes "
            "where account_id_dynamics = ? and cycle_id >= ? order by field",
            account_id, self.first_cycle,
        )  # fmt: skip

    def errors_of(self, record_id: str) -> list[Entry]:
        """(direction, operation, field, attempts, state) of all errors of a record, oldest first."""
        return self.query(
            "select direction, operation, field, attempts, state from sync_errors where record_id_dynamics = ? "
            "order by error_id",
            record_id,
        )

    def let_time_pass(self, record_id: str, time: timedelta) -> None:
        """Where a record waits for a later look it waits that much less; where it waits for an edit it still does."""
        with duckdb.connect(self.data_dir / "dynsync.duckdb") as working:
            working.execute(
                "update state.unsettled set next_look_at = next_look_at - ?::interval "
                f"where dynamics_id = ? and next_look_at < {MUCH_LATER}",
                [time, record_id],
            )


@contextmanager
def just_before(client: type, method: str, *acts: Callable[[], None]) -> Iterator[list[Callable[[], None]]]:
    """Let somebody act right before each of the sync's first calls of a client's method; yields the acts still to come."""
    original = getattr(client, method)
    waiting = list(acts)

    def called(*arguments: Any, **options: Any) -> Any:
        if waiting:
            waiting.pop(0)()
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, method, called)
        yield waiting
