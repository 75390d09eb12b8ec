"""A small world in memory: two systems, one warehouse, and real cycles between them, cut anywhere if asked.

Everything between the two systems is the real thing, the conductor included: `Cycle` over a working file. Only the
wire is missing. Not here: the systems (`memory_dynamics.py`, `memory_marketo.py`), worlds over HTTP (`http.py`).
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.model.field_map import OF_OPTIONS, Collision, Field, FieldMap, parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.plan import Plan
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline_tests.worlds.cuts import Cut, CutWarehouse, Steps
from dynsync_pipeline_tests.worlds.memory_dynamics import MemoryDynamics
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS, MemoryMarketo
from dynsync_pipeline_tests.worlds.rows import labels_of

HEADER = "record_type,marketo_field,dynamics_column,type,direction,enabled\n"
WITH_COLLISION = "record_type,marketo_field,dynamics_column,type,direction,enabled,collision\n"
SAME_FOR_BOTH_TYPES = (
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "doNotCall,donotphone,boolean,both,true",
    "revenue,new_revenue,decimal,both,true",
    "employees,new_employees,integer,both,true",
    "birth,birthdate,date,both,true",
    "seen,new_seen,datetime,both,true",
    "rating,new_rating,choice,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)


def field_map(*lines: str) -> FieldMap:
    """A field map in which contacts and leads have the same fields; accounts have a name, which these tests leave alone."""
    text = (
        WITH_COLLISION
        + "account,company,name,text,to_marketo,true,\n"
        + "".join(f"{kind},{line}{',' * (line.count(',') < 5)}\n" for kind in ("contact", "lead") for line in lines)
    )
    return parse_field_map(text, "test.csv")


def _rule_of(field: Field) -> str:
    """The cell of the column `collision`."""
    if field.collision is Collision.ORIGINAL:
        return ""
    return f"{field.collision}:{field.forbids}" if field.forbids else field.collision.value


class MemorySystems:
    """The two systems of a world, as a cycle takes them. No call costs anything."""

    def __init__(self, dynamics: MemoryDynamics, marketo: MemoryMarketo) -> None:
        self.dynamics = dynamics
        self.marketo = marketo

    def n_calls(self, system: str) -> int:
        """No call is counted."""
        return 0


class MemoryWorld:
    """Both systems, the warehouse between them, and a clock that moves five minutes a cycle.

    `host_ahead`: how far the clock of DynSync's host is ahead of that of both systems.

    `publishes`: whether a cycle ends with the snapshot. Without it no cycle is whole, so that every plan counts as the
    first; the guards' tests and whoever looks at the snapshot ask for it.
    """

    def __init__(
        self,
        fields: FieldMap | None = None,
        *,
        is_optimised: bool = False,
        publishes: bool = False,
        warehouse: type[CutWarehouse] = CutWarehouse,
    ) -> None:
        self.fields = fields or field_map(*SAME_FOR_BOTH_TYPES)
        self.publishes = publishes
        self.clock = datetime.now(UTC)
        self.host_ahead = timedelta()
        self.steps = Steps()
        self.dynamics = MemoryDynamics(self.fields, self.steps, self.now)
        self.marketo = MemoryMarketo(self.fields, self.steps, self.now)
        folder = Path(tempfile.mkdtemp(prefix="memory-world-"))
        # Nobody closes these worlds. A `TemporaryDirectory` warns of that when the garbage collector comes by, which may be
        # where somebody has made warnings errors.
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.settings = Settings(
            data_dir=folder,
            field_map=folder / "fields.csv",
            dynamics_url="https://dynamics.test",
            dynamics_tenant_id="tenant",
            dynamics_client_id="client",
            dynamics_client_secret=SecretStr("no secret"),
            marketo_url="https://marketo.test",
            marketo_client_id="client",
            marketo_client_secret=SecretStr("no secret"),
            marketo_oldest_person=self.clock.date().isoformat(),
            marketo_poll_s=0.001,
            # One after the other, so that a cut falls at the same place every time.
            dynamics_calls_at_once=1,
            marketo_calls_at_once=1,
            first_load="create",
            largest_share=1.0,
        )
        self.warehouse = warehouse(self.settings.working_file, self.steps, lambda: self.now() + self.host_ahead)
        if is_optimised:
            self.rows("pragma enable_optimizer")
        self._write_field_map()

    def now(self) -> datetime:
        """The time in this world, for both systems."""
        return self.clock

    def allow(self, **settings: object) -> None:
        """An operator changes settings, such as `max_creates`."""
        self.settings = self.settings.model_copy(update=settings)

    def follow(self, fields: FieldMap) -> None:
        """Go on with another field map a day later."""
        self.clock += timedelta(days=1)
        self.map_to(fields)

    def map_to(self, fields: FieldMap) -> None:
        """Go on with another field map at once; both systems have its columns."""
        self.fields = self.dynamics.fields = self.marketo.fields = fields
        self._write_field_map()

    def _write_field_map(self) -> None:
        lines = (
            f"{f.record_type},{f.marketo_field},{f.dynamics_column},{f.type},{f.direction},true,{_rule_of(f)}\n"
            for f in self.fields.fields
        )
        (self.settings.data_dir / "fields.csv").write_text(WITH_COLLISION + "".join(lines), "utf-8")

    @property
    def columns(self) -> PersonColumns:
        """What is read of a person."""
        return PersonColumns(self.fields, self.settings.own_fields)

    def link(self, record_type: RecordType, record_id: str, /, **values: str | None) -> int:
        """A record with these values by Marketo name, choices as numbers, and a person that agrees; returns its id.

        Several may be made before the cycle that settles them: call `settled()` then.
        """
        columns = {f.marketo_field: f for f in self.fields.of(record_type)}
        self.dynamics.put(record_type, record_id, **{columns[name].dynamics_column: v for name, v in values.items()})
        person_id = self.marketo.next_id
        key = KEYS.contact_id if record_type is RecordType.CONTACT else KEYS.lead_id
        shown = {
            name: labels_of(v) if v is not None and columns[name].type in OF_OPTIONS else v
            for name, v in values.items()
        }
        self.marketo.put(person_id, **{key: record_id}, **self.told_of(record_type, record_id), **shown)
        return person_id

    def told_of(self, record_type: RecordType, record_id: str) -> dict[str, str | None]:
        """The own fields beside the key, as the sync writes them to the person of this record."""
        created = self.dynamics.rows[record_type, record_id].values["createdon"]
        return {KEYS.person_type: record_type.value.capitalize(), KEYS.created_on: created}

    # -- cycles ----------------------------------------------------------------------------------------------------

    def opened(self) -> Cycle:
        """A cycle over this world, to be used in `with`; five minutes have passed since the last one."""
        self.clock += timedelta(minutes=5)
        systems = MemorySystems(self.dynamics, self.marketo)
        return Cycle(
            self.settings,
            systems=lambda settings, used: nullcontext(systems),
            warehouse=lambda path: nullcontext(self.warehouse),
        )

    def cycle(self, *, cut_after: int | None = None, is_backwards: bool = False) -> Plan | None:
        """One cycle; None if it was cut after that many steps. `is_backwards`: both systems answer in the other order.

        Its steps run one by one, as the assets of Dagster do, so that a cut falls at the same place every time.
        """
        self.steps.left = cut_after
        self.dynamics.is_backwards = self.marketo.is_backwards = is_backwards
        try:
            with self.opened() as cycle:
                read_all(cycle)
                plan = cycle.reconcile()
                cycle.write_dynamics()
                cycle.write_marketo()
                if self.publishes:
                    cycle.publish()
        except Cut:
            return None
        finally:
            self.steps.left = None
            self.dynamics.is_backwards = self.marketo.is_backwards = False
        return plan

    def settled(self, n_most: int = 4) -> int:
        """Run cycles until one writes nothing; returns how many wrote. More than `n_most` is a fault."""
        for n_wrote in range(n_most + 1):
            plan = self.cycle()
            assert plan is not None
            if plan.n_operations == 0:
                return n_wrote
        raise AssertionError(f"still writing after {n_most} cycles")

    # -- looking ---------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that `query` selects from the warehouse."""
        with self.warehouse.reading() as connection:
            return connection.execute(query, list(values)).fetchall()

    def ledger(self) -> dict[str, list[tuple[Any, ...]]]:
        """What was ever done, without times, in the order it was done."""
        return {
            "changes": self.rows(
                "select direction, record_type, person_id, dynamics_id, field, old_value, new_value, rule_code "
                "from ledger.changes order by entry_id"
            ),
            "collisions": self.rows(
                "select record_type, person_id, dynamics_id, field, base_value, dynamics_value, marketo_value, "
                "winner, rule_code from ledger.collisions order by entry_id"
            ),
        }

    def both(self, person_id: int, name: str) -> tuple[str | None, str | None]:
        """A field as the two systems hold it now: Dynamics, Marketo."""
        values = self.marketo.rows[person_id].values
        record_type = RecordType.CONTACT if values.get(KEYS.contact_id) else RecordType.LEAD
        record_id = values[KEYS.contact_id if record_type is RecordType.CONTACT else KEYS.lead_id]
        (column,) = (f.dynamics_column for f in self.fields.of(record_type) if f.marketo_field == name)
        return self.dynamics.rows[record_type, str(record_id)].values.get(column), values.get(name)

    def base(self, person_id: int, name: str) -> str | None:
        """What both sides last agreed on, or the word `missing`."""
        if self.rows("select 1 from state.base_missing where person_id = ? and field = ?", person_id, name):
            return "missing"
        ((value,),) = self.rows(f'select "{name}" from state.base where person_id = ?', person_id)
        return None if value is None else str(value)

    def standing(self) -> list[tuple[Any, ...]]:
        """The accepted inequalities."""
        return self.rows(
            "select person_id, field, dynamics_value, marketo_value from state.standing_differences order by all"
        )

    def errors(self) -> list[tuple[Any, ...]]:
        """What stands in the error list: id, field, direction, code, attempts, state."""
        return self.rows(
            "select dynamics_id, field, direction, code, attempts, state from ledger.sync_errors order by error_id"
        )


def read_all(cycle: Cycle) -> None:
    """The extract steps, one by one."""
    for record_type in RecordType:
        cycle.extract_records(record_type)
    cycle.extract_people()
    cycle.extract_companies()
