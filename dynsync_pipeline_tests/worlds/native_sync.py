"""A script in the place of the vendor's native sync, for worlds in which DynSync runs in shadow beside it.

It knows by itself which person is which record, bears other names in both logs than DynSync's, and settles each field by the
original's rules (R34, R35, R38), unless a test plants something else. Not here: what parity must say of it (`shadow/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from dynsync_pipeline.emulators.marketo.people_writes import PeopleWrites
from dynsync_pipeline.model.field_map import OF_OPTIONS
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.http import HttpWorld
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_dynamics import CHANGED_BY
from dynsync_pipeline_tests.worlds.rows import LABELS, labels_of

SOURCE = "Microsoft Dynamics"
USER = "native sync"


class Pair(NamedTuple):
    """A person and its record."""

    person_id: int
    record_type: RecordType
    record_id: str


class Carried(NamedTuple):
    """What becomes of a field: the direction of a write, and the value that the other side gets."""

    direction: str
    value: Any


Rule = Callable[[Pair, str, Any, Any, Any], Carried | None]


def original(pair: Pair, name: str, base: Any, dynamics: Any, marketo: Any) -> Carried | None:
    """The original's rule: an edit of one side goes over; of two a lead takes Marketo's and a contact Dynamics' value."""
    if dynamics == marketo:
        return None
    if marketo == base or (dynamics != base and pair.record_type is RecordType.CONTACT):
        return Carried("to_marketo", dynamics)
    return Carried("to_dynamics", marketo)


class Wire(Protocol):
    """How the script reaches both systems; values compare, an option being its number."""

    def in_dynamics(self, pair: Pair, name: str) -> Any:
        """What Dynamics holds."""

    def in_marketo(self, pair: Pair, name: str) -> Any:
        """What Marketo holds."""

    def write(self, pair: Pair, name: str, carried: Carried) -> bool:
        """Write it to the other side, as the native sync; whether that took it."""


class NativeSync:
    """The script over these pairs and fields; `rules` has, by person and field, what it does instead of the original's rule."""

    def __init__(self, wire: Wire, pairs: Iterable[Pair], names: Iterable[str]) -> None:
        self._wire = wire
        self._fields = [(pair, name) for pair in pairs for name in names]
        self._base = {field: wire.in_dynamics(*field) for field in self._fields}
        self.rules: dict[tuple[int, str], Rule] = {}

    def run(self) -> int:
        """Carry over what was edited; returns how many values it wrote."""
        n_written = 0
        for pair, name in self._fields:
            dynamics, marketo = self._wire.in_dynamics(pair, name), self._wire.in_marketo(pair, name)
            base = self._base[pair, name]
            rule = self.rules.get((pair.person_id, name), original)
            carried = rule(pair, name, base, dynamics, marketo)
            if (
                carried is not None
                and carried.value != {"to_marketo": marketo, "to_dynamics": dynamics}[carried.direction]
            ):
                if not self._wire.write(pair, name, carried):
                    continue
                n_written += 1
            # Like the original it takes for agreed what it wrote, whatever the system made of it.
            self._base[pair, name] = carried.value if carried else dynamics if dynamics == marketo else base
        return n_written


class MemoryWire:
    """To the systems of a world in memory."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self._fields = {(f.record_type, f.marketo_field): f for f in world.fields.fields}

    def in_dynamics(self, pair: Pair, name: str) -> str | None:
        """What the record holds."""
        row = self._world.dynamics.rows[pair.record_type, pair.record_id]
        return row.values.get(self._fields[pair.record_type, name].dynamics_column)

    def in_marketo(self, pair: Pair, name: str) -> str | None:
        """What the person holds; the number of an option."""
        value = self._world.marketo.rows[pair.person_id].values.get(name)
        if value is not None and self._fields[pair.record_type, name].type in OF_OPTIONS:
            return {label: number for number, label in LABELS.items()}[value]
        return value

    def write(self, pair: Pair, name: str, carried: Carried) -> bool:
        """As the native sync's user, and told by its name in the feed."""
        field = self._fields[pair.record_type, name]
        if carried.direction == "to_dynamics":
            values = {CHANGED_BY: USER, field.dynamics_column: carried.value}
            self._world.dynamics.put(pair.record_type, pair.record_id, **values)
            return True
        is_option = carried.value is not None and field.type in OF_OPTIONS
        with self._world.marketo.told_by(SOURCE):
            self._world.marketo.put(pair.person_id, **{name: labels_of(carried.value) if is_option else carried.value})
        return True


class HttpWire:
    """To the emulators of a world over HTTP; `columns` has Dynamics' name of each field. For fields that are no options."""

    def __init__(self, world: HttpWorld, columns: Mapping[str, str]) -> None:
        self._world = world
        self._columns = columns
        store = world.emulators.dataverse
        self.user_id = store.password_user_id
        self._dynamics = world.client(world.emulators.dataverse_url, store.new_token(self.user_id))

    def close(self) -> None:
        """End its connection."""
        self._dynamics.close()

    def in_dynamics(self, pair: Pair, name: str) -> Any:
        """What the record holds."""
        return self._world.record(pair.record_type, pair.record_id)[self._columns[name]]

    def in_marketo(self, pair: Pair, name: str) -> Any:
        """What the person holds."""
        return self._world.person(pair.person_id, name)[name]

    def write(self, pair: Pair, name: str, carried: Carried) -> bool:
        """As another user of Dynamics; in Marketo past the API, as the native sync goes."""
        if carried.direction == "to_dynamics":
            url = f"/api/data/v9.2/{pair.record_type}s({pair.record_id})"
            answer = self._dynamics.patch(url, json={self._columns[name]: carried.value}, headers={"If-Match": "*"})
            return answer.status_code == 204
        store = self._world.emulators.marketo
        with store.transaction():
            writes = PeopleWrites(store, reason="Synced from Dynamics", source=SOURCE)
            writes.load([pair.person_id])
            writes.update(pair.person_id, writes.accepted({name: carried.value}))
            writes.flush()
        return True
