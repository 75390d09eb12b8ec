"""Every setting, typed (prefix `DYNSYNC_`).

What does not belong here: reading them (`settings_sources.py`), which fields are synced (the field map, `model/field_map.py`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from dynsync_pipeline.errors import InShadow, SettingsWrong
from dynsync_pipeline.model.own_fields import COMPANY_KEY, OwnFields
from dynsync_pipeline.model.records import RecordType

PREFIX = "DYNSYNC_"
OLDEST = date(2000, 1, 1)  # Marketo was founded in 2006
MANY = 1_000_000_000_000  # calls or people: more than any system has, and small enough to reckon with
SHORTEST_LEDGER_DAYS = 30
MOST_MB = 16_000_000
SHADOW_SENTENCE = "Shadow: both systems are read, and neither is written to."
YEAR_S = 31_536_000.0
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Settings(BaseModel):
    """All settings of one installation; secrets print as `**********`."""

    model_config = ConfigDict(extra="ignore", frozen=True, validate_default=True)

    pairs_dir: Path | None = Field(
        None,
        description="Folder with one folder per pair, each with a .env of its own; empty: one pair, that of this file.",
    )
    pair: str = Field("", description="Name of the pair that commands are for, as --pair says.")
    cycles_at_once: int = Field(4, ge=1, le=1_000, description="Pairs whose cycles may run at a time.")

    data_dir: Path = Field(Path("data"), description="Folder of the working file, the snapshot and the lock.")
    native_source: str = Field(
        "",
        description="How Marketo's activity log begins to name the source of what the native sync writes; for parity.",
    )
    native_user: str = Field(
        "", description="Id, name or e-mail address of the native sync's user in Dynamics; for parity."
    )
    field_map: Path | None = Field(None, description="CSV of the synced fields; empty: the one in the package.")
    mode: Literal["live", "shadow"] = Field(
        "live", description="shadow: reads both systems and decides, beside a native sync, and writes to neither."
    )

    dynamics_url: str = Field("", description="https://ORG.crm.dynamics.com, without a path.")
    dynamics_authority: str = Field(
        "https://login.microsoftonline.com", description="Sign-in host, without the tenant."
    )
    dynamics_tenant_id: str = Field("", description="Directory (tenant) id of the app registration.")
    dynamics_client_id: str = Field("", description="Application (client) id of the app registration.")
    dynamics_client_secret: SecretStr | None = Field(
        None, description="Client secret; or a certificate; or a user name."
    )
    dynamics_certificate_file: Path | None = Field(None, description="PEM file with private key and certificate.")
    dynamics_certificate_passphrase: SecretStr | None = Field(None, description="Passphrase of that private key.")
    dynamics_username: str = Field("", description="Sync user, for sign-in by user name and password.")
    dynamics_password: SecretStr | None = Field(None, description="Password of that user.")
    dynamics_calls_per_day: int = Field(
        100_000, gt=0, le=MANY, description="Requests DynSync may send to Dynamics in 24 hours."
    )
    dynamics_calls_at_once: int = Field(
        5, gt=0, le=50, description="Writes DynSync may have under way in Dynamics; never more than it advises."
    )

    marketo_url: str = Field("", description="https://MUNCHKIN.mktorest.com; a trailing /rest is understood.")
    marketo_app_url: str = Field(
        "",
        description="Address of Marketo's own pages, https://app-XX00.marketo.com, for links to people; empty: none.",
    )
    marketo_client_id: str = Field("", description="Client id of the custom service in LaunchPoint.")
    marketo_client_secret: SecretStr | None = Field(None, description="Client secret of that service.")
    marketo_calls_per_day: int = Field(
        25_000, gt=0, le=MANY, description="Calls DynSync may send to Marketo in 24 hours."
    )
    marketo_calls_per_20_s: int = Field(50, gt=0, le=MANY, description="Calls DynSync may send in any 20 seconds.")
    marketo_calls_at_once: int = Field(
        5, gt=0, le=10, description="Writes DynSync may have under way in Marketo, which takes 10 calls from all tools."
    )
    marketo_oldest_person: str = Field(
        "2010-01-01", description="Date before which no person was created; the first load starts there."
    )
    marketo_poll_s: float = Field(
        60.0,
        gt=0,
        le=YEAR_S,
        allow_inf_nan=False,
        description="Seconds between looks at a bulk export; Marketo refreshes once a minute.",
    )

    # The fields that the sync owns: one key for leads and one for contacts (R20).
    marketo_field_lead_id: str = Field("dynamicsLeadId", description="Marketo field with the id of the Dynamics lead.")
    marketo_field_contact_id: str = Field("dynamicsContactId", description="Marketo field with the id of the contact.")
    marketo_field_type: str = Field("dynamicsType", description="Marketo field with Lead, Contact or nothing.")
    marketo_field_is_deleted: str = Field("dynamicsIsDeleted", description="Marketo field: deleted in Dynamics.")
    marketo_field_created_on: str = Field("dynamicsCreatedOn", description="Marketo field: created in Dynamics at.")

    # Doors by which people of Marketo are asked to become records in Dynamics (R71).
    default_owner: str = Field(
        "", description="Name or e-mail address of the user who owns new records; empty: the sync's user (R75)."
    )
    report_doubles: bool = Field(
        False, description="Tell with the answer to a request which records have the same e-mail address (R76)."
    )
    listen_tokens: SecretStr | None = Field(
        None, description="Tokens that `dynsync listen` takes, with commas between; two while one is replaced."
    )
    notify: SecretStr | None = Field(
        None,
        description="Addresses that are told what somebody has to know, as apprise writes them, with spaces between.",
    )
    notify_values: bool = Field(False, description="Tell these names and refused values, too, which are personal data.")
    marketo_activity_type: int | None = Field(
        None,
        gt=0,
        description="Id of the custom activity type that `dynsync setup` makes: refusals are told in people's own activity log.",
    )
    lead_list: int | None = Field(
        None, gt=0, description="Id of a static list in Marketo: who is added to it becomes a lead in Dynamics."
    )
    contact_list: int | None = Field(
        None, gt=0, description="Id of a static list in Marketo: who is added to it becomes a contact in Dynamics."
    )

    first_load: Literal["refuse", "create", "adopt"] = Field(
        "refuse", description="What a first cycle does when Marketo already holds people that DynSync does not know."
    )
    max_creates: int = Field(
        1_000, ge=0, le=MANY, description="More new people than this in a later cycle stop it before any write."
    )
    largest_share: float = Field(
        0.2, gt=0, le=1, description="Part of all linked people that one cycle may delete, clear or collide; 1: any."
    )
    ask_above: int | None = Field(
        None,
        ge=0,
        le=MANY,
        description="What one cause would write to more people than this waits for `dynsync approve`; empty: nothing does.",
    )
    census_days: float = Field(
        7.0,
        ge=0.01,
        le=36_500,
        allow_inf_nan=False,
        description="Days in which the census reads every person and record again.",
    )
    census_share: float = Field(
        0.1, ge=0, le=1, description="Part of a day's calls that are left which the census may use; 0: no census."
    )
    ledger_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days for which changes, collisions, activities and cycles are kept; 0: for good, else 30 at least.",
    )
    observation_days: int = Field(
        400,
        ge=1,
        le=36_500,
        description="Days for which each value that moved in either system is kept in observations.",
    )
    call_reserve: float = Field(
        0.1,
        ge=0,
        le=0.9,
        description="Part of a day's calls kept for reading, collisions and consent; other work waits when only that is left.",
    )
    pause_s: float = Field(
        300.0,
        ge=0,
        le=YEAR_S,
        allow_inf_nan=False,
        description="Seconds from the end of a cycle to the start of the next (R2).",
    )
    pause_quiet_s: float | None = Field(
        None,
        ge=0,
        le=YEAR_S,
        allow_inf_nan=False,
        description="The same after a cycle that found nothing to do; empty: as after any other.",
    )
    cycle_limit_s: float = Field(
        21_600.0, gt=0, le=YEAR_S, allow_inf_nan=False, description="A cycle longer than this is ended as hung."
    )

    backup_dir: Path | None = Field(None, description="Folder of the backups; empty: backups in the data folder.")
    backup_hours: float = Field(
        0.0,
        ge=0,
        le=87_600,
        allow_inf_nan=False,
        description="Hours after which a cycle makes the next backup at its end; 0: only `dynsync backup` does.",
    )
    backups_kept: int = Field(7, ge=1, le=10_000, description="Backups that are kept; each new one removes older ones.")

    parquet_dir: Path | None = Field(
        None,
        description="Folder of Parquet files for engines that read everything, which hold everybody's data; empty: none.",
    )

    audit_engine: Literal["duckdb", "spark"] = Field(
        "duckdb", description="What compares everything once a day; spark reads the Parquet files, and needs the extra."
    )
    spark_master: str = Field("local[*]", description="Where Spark runs; the default is this machine, all processors.")

    memory_mb: int | None = Field(
        None, ge=256, le=MOST_MB, description="Memory in MB that DuckDB may take; empty: half of the machine's."
    )
    threads: int | None = Field(
        None, ge=1, le=1_024, description="Threads that DuckDB may use; empty: one per processor."
    )
    temp_dir: Path | None = Field(
        None, description="Folder for what does not fit into that memory; empty: beside the working file."
    )

    ca_file: Path | None = Field(
        None, description="PEM file of extra certificate authorities, for emulators or a proxy."
    )
    request_timeout_s: float = Field(
        120.0, gt=0, le=YEAR_S, allow_inf_nan=False, description="Total time limit of one request, answer included."
    )
    retry_limit_s: float = Field(
        300.0, ge=0, le=YEAR_S, allow_inf_nan=False, description="Longest time spent on retrying one request."
    )

    @model_validator(mode="before")
    @classmethod
    def _blank_is_empty(cls, values: dict[str, object]) -> dict[str, object]:
        """A value of blanks is not set, as an empty one is."""
        return {name: value for name, value in values.items() if not (isinstance(value, str) and value.isspace())}

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_typed(cls, value: object) -> object:
        """A file, an address and a header take no control character, and nobody sees one that came in by a slip."""
        if isinstance(value, str) and _CONTROL.search(value.strip()):
            raise ValueError("must not hold control characters; type it anew")
        return value

    @field_validator("dynamics_url", "dynamics_authority", "marketo_url", "marketo_app_url")
    @classmethod
    def _origin_only(cls, value: str) -> str:
        value = value.strip().rstrip("/").removesuffix("/rest")
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("must be an address such as https://example.com, with a number as its port") from None
        if parts.username or parts.password:
            raise ValueError("must not hold a user name or password; there are settings of their own for these")
        if value:
            _require_host_alone(parts)
        return value

    @field_validator("marketo_oldest_person")
    @classmethod
    def _a_date(cls, value: str) -> str:
        try:
            oldest = date.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a date such as 2015-01-31") from None
        if oldest > datetime.now(UTC).date():
            raise ValueError("must not lie in the future")
        if oldest < OLDEST:
            raise ValueError(f"must not lie before {OLDEST}; Marketo has no older people")
        return oldest.isoformat()

    @field_validator("ledger_days")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if 0 < value < SHORTEST_LEDGER_DAYS:
            raise ValueError(f"must be 0 or at least {SHORTEST_LEDGER_DAYS}: rules and undos read what was written")
        return value

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        ways = [bool(self.dynamics_client_secret), bool(self.dynamics_certificate_file), bool(self.dynamics_username)]
        if sum(ways) > 1:
            names = ", ".join(f"{PREFIX}DYNAMICS_{name}" for name in ("CLIENT_SECRET", "CERTIFICATE_FILE", "USERNAME"))
            raise ValueError(f"give one of {names}, not several")
        return self

    @model_validator(mode="after")
    def _systems_differ(self) -> Self:
        """Each address leads to its own system, as far as the names of the hosts tell."""
        dynamics, marketo = (urlsplit(url).hostname or "" for url in (self.dynamics_url, self.marketo_url))
        names = f"{PREFIX}DYNAMICS_URL and {PREFIX}MARKETO_URL"
        if dynamics.endswith(".mktorest.com") or ".dynamics." in marketo:
            raise ValueError(
                f"{names} seem to be swapped: *.mktorest.com is Marketo's, *.dynamics.com that of Dynamics"
            )
        return self

    @model_validator(mode="after")
    def _own_fields_differ(self) -> Self:
        """Two own fields of one name would make one key, or type, of several people's."""
        wrong = [name for name, field in self._own_settings.items() if not (field.isascii() and field.isidentifier())]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: must be the REST name of a field, letters and digits alone")
        names = [*self._own_settings.values(), COMPANY_KEY, "id"]
        twice = sorted({name for name in names if [n.lower() for n in names].count(name.lower()) > 1})
        if twice:
            at_fault = [name for name, field in self._own_settings.items() if field.lower() in map(str.lower, twice)]
            raise ValueError(f"{', '.join(at_fault)}: each must name a field of its own, and none of Marketo's own")
        return self

    @model_validator(mode="after")
    def _lists_differ(self) -> Self:
        if self.lead_list is not None and self.lead_list == self.contact_list:
            raise ValueError(f"{PREFIX}LEAD_LIST and {PREFIX}CONTACT_LIST name one list; nobody becomes both")
        return self

    @property
    def calls_per_day(self) -> dict[str, int]:
        """Calls that DynSync may send in 24 hours, by system."""
        return {"dynamics": self.dynamics_calls_per_day, "marketo": self.marketo_calls_per_day}

    @property
    def working_file(self) -> Path:
        """The DuckDB file only a cycle opens."""
        return self.data_dir / "dynsync.duckdb"

    @property
    def snapshot_file(self) -> Path:
        """The DuckDB file analysts read at any moment."""
        return self.data_dir / "snapshot.duckdb"

    @property
    def lists(self) -> dict[int, RecordType]:
        """The static lists that ask for records, and what their members become."""
        named = {self.contact_list: RecordType.CONTACT, self.lead_list: RecordType.LEAD}
        return {list_id: record_type for list_id, record_type in named.items() if list_id is not None}

    @property
    def tokens(self) -> list[str]:
        """The tokens that a webhook may bear."""
        text = self.listen_tokens.get_secret_value() if self.listen_tokens else ""
        return [token for token in map(str.strip, text.split(",")) if token]

    @property
    def rules_test_file(self) -> Path:
        """The CSV of cases that the rules of the field map must decide as it says, where there is one."""
        return (self.field_map.parent if self.field_map else self.data_dir) / "rules_test.csv"

    @property
    def requests_file(self) -> Path:
        """The SQLite file of requests that people become records."""
        return self.data_dir / "requests.sqlite"

    @property
    def lock_file(self) -> Path:
        """The file whose `flock` is the right to run a cycle."""
        return self.data_dir / "cycle.lock"

    @property
    def names_a_system(self) -> bool:
        """Whether any address was given; if none, `make dev` starts the emulators."""
        return bool(self.dynamics_url or self.marketo_url)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each system is that is named, by the system: its host, and its port unless that is 443. Two pairs on one host
        differ in ports alone.
        """
        parts = {"dynamics": urlsplit(self.dynamics_url), "marketo": urlsplit(self.marketo_url)}
        return {
            system: f"{each.hostname}:{each.port}" if each.port not in (None, 443) else each.hostname
            for system, each in parts.items()
            if each.hostname
        }

    @property
    def own_fields(self) -> OwnFields:
        """The Marketo fields that belong to the sync."""
        return OwnFields(
            lead_id=self.marketo_field_lead_id,
            contact_id=self.marketo_field_contact_id,
            person_type=self.marketo_field_type,
            is_deleted=self.marketo_field_is_deleted,
            created_on=self.marketo_field_created_on,
        )

    @property
    def _own_settings(self) -> dict[str, str]:
        """The names that the settings give the own fields, by environment variable."""
        named = [name for name in type(self).model_fields if name.startswith("marketo_field_")]
        return {PREFIX + name.upper(): getattr(self, name) for name in named}

    def own_field_faults(self, offered: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with own fields, in words, each by the environment variable that names it.

        `offered`: the types of Marketo's person fields by REST name, as its description of people tells them.
        """
        types = self.own_fields.types
        return {
            setting: f"{name} is missing"
            if name not in offered
            else f"{name} is {offered[name]} and must be {types[name]}"
            for setting, name in self._own_settings.items()
            if offered.get(name) != types[name]
        }

    @property
    def is_shadow(self) -> bool:
        """Whether nothing is ever written to a system."""
        return self.mode == "shadow"

    def require_live(self, what: str) -> None:
        """Raise `InShadow` where nothing is written; `what` would be, as a sentence begins."""
        if self.is_shadow:
            raise InShadow(what)

    def _missing_secrets(self) -> list[str]:
        has_proof = self.dynamics_client_secret or self.dynamics_certificate_file or self.dynamics_username
        is_missing = {
            "dynamics_client_secret": not has_proof,
            "dynamics_password": self.dynamics_username and not self.dynamics_password,
            "marketo_client_secret": not self.marketo_client_secret,
        }
        return [name for name, missing in is_missing.items() if missing]

    def require_systems(self) -> None:
        """Raise `SettingsWrong` naming every setting a cycle needs and does not have."""
        missing = [
            name
            for name in ("dynamics_url", "dynamics_tenant_id", "dynamics_client_id", "marketo_url", "marketo_client_id")
            if not getattr(self, name)
        ]
        missing += self._missing_secrets()
        if missing:
            names = ", ".join(PREFIX + name.upper() for name in missing)
            instead = " A certificate, or a user name and password, serves instead of the client secret of Dynamics."
            raise SettingsWrong(
                f"Not set: {names}.{instead if 'dynamics_client_secret' in missing else ''}",
                next_step="Set them in the pair's own .env."
                if self.pair
                else "Set them in the environment or in .env (see .env.example); `dynsync demo` needs none.",
            )


def _require_host_alone(parts: SplitResult) -> None:
    """Raise ValueError unless these are the parts of an address without a path, of https or of this machine."""
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an address such as https://example.com")
    if not _can_be_a_host(parts.hostname):
        raise ValueError("must be an address such as https://example.com; this is no name of a host")
    if any((parts.path, parts.query, parts.fragment)):
        raise ValueError("must be the address of the host alone, without a path")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("must start with https://; plain http would send tokens in the clear")


def _can_be_a_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        try:
            return bool(_HOST.fullmatch(name.encode("idna").decode()))
        except UnicodeError:
            return False
    return True
