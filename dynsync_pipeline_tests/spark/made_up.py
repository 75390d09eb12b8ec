"""Working files with people whom nobody ever synced: any text in any field, in every state that a rule file looks at."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from dynsync_pipeline.model.field_map import Collision, Field, FieldType
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.publish.parquet import publish_parquet
from dynsync_pipeline.publish.parquet_files import Manifest
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.follow_map import follow_field_map
from dynsync_pipeline_tests.worlds.every_type import POOLS, RULES, line_of
from dynsync_pipeline_tests.worlds.memory import field_map

COLLISIONS = ("", "newest", "never_clear", "review", "dynamics", "marketo", "restrictive:false")
FIELDS = field_map(
    "email,emailaddress1,text,both,true",
    "firstName,firstname,text,both,true",
    "lastName,lastname,text,both,true",
    *(line_of(name, rule) for name, rule in RULES.items()),
    *(f"f{n},new_f{n},{'boolean' if ':' in rule else 'text'},both,true,{rule}" for n, rule in enumerate(COLLISIONS)),
)
NOW = datetime.fromisoformat("2026-03-29T01:30:00")  # in the hour that summer time leaves out, somewhere
Row = dict[str, object]


class MadeUp:
    """People and records by a dozen each for every ten links; `texts` are what fields of all types are drawn from."""

    def __init__(self, seed: int, texts: Sequence[str], n_links: int = 120) -> None:
        self.draw = random.Random(seed)
        self.texts = [None, None, "", *texts]
        self.n_links = n_links
        self.tables: dict[str, list[Row]] = {}
        self._records()
        self._links()
        self._systems()
        for person_id in range(n_links):
            self._state_of(person_id)

    def value(self, field: str) -> str | None:
        """One of a few values of its type, or any text."""
        kind = next(f.type for f in FIELDS.fields if f.marketo_field == field)
        if kind == "text" or self.draw.random() < 0.2:
            return self.draw.choice(self.texts) or None
        return self.draw.choice(POOLS[kind]) or None

    def add(self, table: str, **row: object) -> None:
        self.tables.setdefault(table, []).append(row)

    def chance(self, share: float) -> bool:
        return self.draw.random() < share

    def record(self, person_id: int) -> tuple[str, str]:
        return ("contact" if person_id % 2 else "lead"), f"r{person_id}"

    def _records(self) -> None:
        """Each side of a field is mostly the same, so that most links agree; some records and people belong to nobody."""
        for person_id in range(self.n_links + 40):
            same = {name: self.value(name) for name in FIELDS.linked_fields}
            sides = [{name: self.value(name) if self.chance(0.03) else same[name] for name in same} for _ in range(3)]
            if self.chance(0.1):  # a value that moved from one column to the next
                one, other = self.draw.sample([name for name in same if name.startswith("f")], 2)
                sides[0][one], sides[0][other] = "moved", None
                sides[1][one], sides[1][other] = None, "moved"
            kind, record_id = self.record(person_id)
            columns = {f.marketo_field: f.dynamics_column for f in FIELDS.fields if f.record_type == kind}
            if self.chance(0.97):
                table, key = (
                    ("mirror.dynamics_contacts", "contactid")
                    if kind == "contact"
                    else ("mirror.dynamics_leads", "leadid")
                )
                values = {columns[name]: value for name, value in sides[1].items()}
                self.add(table, **{key: record_id}, is_deleted=self.chance(0.03), etag="1", **values)
            if self.chance(0.97):
                keys = {f"dynamics_{kind}_id": record_id if self.chance(0.5) else None}
                self.add("mirror.marketo_people", person_id=person_id, is_deleted=self.chance(0.03), **keys, **sides[2])
            if person_id < self.n_links and self.chance(0.97):
                self.add("state.base", person_id=person_id, **sides[0])

    def _links(self) -> None:
        for person_id in range(self.n_links):
            kind, record_id = self.record(person_id)
            self.add("state.links", person_id=person_id, record_type=kind, dynamics_id=record_id, linked_at=NOW)
        self.add("state.links", person_id=0, record_type="contact", dynamics_id="r1", linked_at=NOW)

    def _systems(self) -> None:
        self.add("state.user_zone", zone="Europe/Berlin")
        labels = {"1": "One", "2": "Two; or so", "3": "ß 🦊"}
        for f in FIELDS.fields:
            for system in ("dynamics", "marketo") if f.record_type is RecordType.CONTACT else ("dynamics",):
                self.add(
                    "state.columns", system=system, record_type=f.record_type if system == "dynamics" else None,
                    name=f.dynamics_column if system == "dynamics" else f.marketo_field,
                    data_type="Integer" if f.type == "integer" else "String", max_length=self.draw.choice([None, 2, 100]),
                    is_readable=True, is_writable=self.chance(0.9), is_required=self.chance(0.1), read_at=NOW,
                    minimum=self.draw.choice([None, 0.0]), maximum=self.draw.choice([None, 1.5]),
                    time_behavior=self.draw.choice([None, "UserLocal", "DateOnly", "TimeZoneIndependent"]),
                )  # fmt: skip
            if f.type in ("choice", "choices"):
                maps = {"numbers": {v: k for k, v in labels.items()}, "labels": labels}
                maps["listed_numbers"] = {v.replace(";", ","): k for k, v in labels.items()}
                self.add("state.option_maps", record_type=f.record_type, dynamics_column=f.dynamics_column, **maps)
        self.add("state.returned_fields", record_type="lead", field="title")

    def _state_of(self, person_id: int) -> None:
        draw, (kind, record_id) = self.draw, self.record(person_id)
        who = {"record_type": kind, "dynamics_id": record_id}
        name = draw.choice(list(FIELDS.linked_fields))
        both = {"dynamics_value": self.value(name), "marketo_value": self.value(name)}
        if self.chance(0.1):
            self.add("state.base_missing", person_id=person_id, field=name)
        if self.chance(0.2):
            reason = draw.choice(["kept_by_dynamics", "kept_by_marketo", "undo", "restored", "in_review", "lossy"])
            self.add(
                "state.standing_differences", person_id=person_id, field=name, **both, reason_code=reason, since=NOW
            )
        if self.chance(0.1):
            look = NOW + timedelta(minutes=draw.choice([-5, 5])) if self.chance(0.9) else None
            self.add(
                "state.unsettled", **who, person_id=person_id, field=name, **both, reason_code="refused", attempts=2, since=NOW,
                next_look_at=look,
            )  # fmt: skip
        if self.chance(0.1):
            self.add(
                "state.reviews",
                review_id=person_id,
                person_id=person_id,
                **who,
                field="f3",
                **both,
                opened_at=NOW,
                choice="marketo",
            )
        if self.chance(0.1):
            self.add(
                "state.old_labels",
                person_id=person_id,
                record_type=kind,
                field="rating",
                label="Former",
                option_value="2",
            )
        self._edited(person_id, kind, record_id)
        if self.chance(0.5):
            self._collided(person_id, kind, record_id)
        if self.chance(0.03):
            self.add("state.unread", record_type="person", key=str(person_id), has_id=True, message="x", attempts=1)
        if self.chance(0.03):
            self.add("state.filtered_out", **who, since=NOW)
        if self.chance(0.05):
            self.add("inbox.touched", person_id=person_id, is_receipt=False)
        if self.chance(0.05):
            self.add(
                "state.tombstones",
                person_id=person_id + 1000,
                record_type=kind,
                dynamics_id=f"r{person_id + self.n_links}",
                side="marketo",
                ended_at=NOW,
            )
        if self.chance(0.05):
            self.add(
                "state.adoption",
                record_type=kind,
                dynamics_id=f"r{self.n_links + person_id % 40}",
                decision="skip",
                decided_at=NOW,
            )

    def _edited(self, person_id: int, kind: str, record_id: str) -> None:
        """When a field was edited on both sides, and one that went to and fro."""
        if self.chance(0.3):
            until = NOW - timedelta(seconds=self.draw.randrange(300))
            self.add(
                "state.dynamics_edits",
                record_type=kind,
                dynamics_id=record_id,
                field="f1",
                after_at=until - timedelta(minutes=5),
                until_at=until,
            )
            for value in dict.fromkeys([self.value("f1"), self.value("f1")]):
                told = NOW - timedelta(microseconds=self.draw.randrange(600_000_000))
                self.add("state.marketo_edits", person_id=person_id, field="f1", value=value, told_at=told)
        if self.chance(0.3):
            step = timedelta(seconds=600, microseconds=self.draw.randrange(999_999))
            for n in range(6):
                self.add(
                    "ledger.changes", entry_id=person_id * 10 + n, cycle_id=1, changed_at=NOW - step * (6 - n),
                    direction="to_marketo" if n % 2 else "to_dynamics", record_type=kind, person_id=person_id,
                    dynamics_id=record_id, field="title", new_value="A" if n % 2 else "B", rule_code="one_sided",
                )  # fmt: skip

    def _collided(self, person_id: int, kind: str, record_id: str) -> None:
        """A collision of the past in any field, also in one that is not synced both ways, or not at all any more."""
        name = self.draw.choice([*FIELDS.linked_fields, "gone"])
        known = "title" if name == "gone" else name
        self.add(
            "ledger.collisions", entry_id=person_id + 1, cycle_id=1, settled_at=NOW - timedelta(days=self.draw.randrange(9)),
            record_type=kind, person_id=person_id, dynamics_id=record_id, field=name, base_value=self.value(known),
            dynamics_value=self.value(known), marketo_value=self.value(known),
            winner=self.draw.choice(["dynamics", "marketo"]),
            rule_code=self.draw.choice(["marketo_wins", "dynamics_wins", "reviewed", "deleted_in_dynamics"]),
            dynamics_modified_at=NOW - timedelta(seconds=self.draw.randrange(300)) if self.chance(0.8) else None,
            marketo_changed_at=NOW - timedelta(seconds=self.draw.randrange(300)) if self.chance(0.8) else None,
        )  # fmt: skip

    def published(self, folder: Path) -> tuple[Path, Manifest]:
        """The Parquet files of a working file that holds all this, and their state."""
        settings = Settings(data_dir=folder, parquet_dir=folder / "parquet")
        with Warehouse(settings.working_file) as warehouse:
            with warehouse.transaction() as connection:
                follow_field_map(connection, FIELDS)
                for table, rows in self.tables.items():
                    insert(connection, table, rows)
            manifest = publish_parquet(warehouse, settings)
        assert manifest is not None
        return folder / "parquet", manifest


def turned(fields: Sequence[Field]) -> list[Field]:
    """Each field under another rule, of all that there are."""
    rules = [rule for rule in Collision if rule is not Collision.RESTRICTIVE]
    chosen = [rules[n % len(rules)] for n in range(len(fields))]
    return [
        replace(f, collision=Collision.RESTRICTIVE, forbids="true")
        if f.type is FieldType.BOOLEAN
        else replace(f, collision=rule)
        for f, rule in zip(fields, chosen, strict=True)
    ]


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    types = dict(connection.execute(f"select column_name, column_type from (describe {table})").fetchall())
    maps = {name for name in names if types[name].startswith("MAP")}
    given = pa.table(
        {
            name: pa.array(
                [list(row[name].items()) if name in maps else row.get(name) for row in rows],  # type: ignore[attr-defined]
                pa.map_(pa.string(), pa.string()) if name in maps else None,
            )
            for name in names
        }
    )
    connection.register("given", given)
    columns = ", ".join(f'"{name}"' for name in names)
    connection.execute(f"insert into {table} ({columns}) select {columns} from given")
    connection.unregister("given")
