"""Marketo's change feed as a table: whom to read again, and which edits our own writes overwrote unseen.

Not here: fetching the feed (`marketo.py`), what an edit means (`reconcile/`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import duckdb

from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.edit_times import follows_edits
from dynsync_pipeline.warehouse.erased import has_erased
from dynsync_pipeline.warehouse.mirrors import PersonColumns
from dynsync_pipeline.warehouse.rows_of import rows_of

OVERLAP = timedelta(minutes=10)  # the feed's order and times are not exact; what repeats is compared and skipped


class UnseenEdit(NamedTuple):
    """A value in Marketo that our write `change_id` (of `ledger.changes`) overwrote before anybody had seen it."""

    person_id: int
    field: str
    value: str | None
    change_id: int


class Feed:
    """Entries of the feed, one per person and field; a new person has one without field. Values as text, as sent.

    Reads of the feed overlap; entries whose `marketoGUID` is in `seen` are repeats and left out.
    """

    def __init__(self, columns: PersonColumns, seen: Collection[str] = ()) -> None:
        self._columns = columns
        self._seen = seen
        self._rows: list[tuple[str, int, datetime, str | None, str | None, str | None, str | None]] = []
        self._asked_for: set[int] = set()
        self._is_told = False
        self.unread_ids: list[int | None] = []  # people of entries that cannot be read; None where nobody is told

    def add(
        self,
        guid: str,
        person_id: int,
        at: datetime,
        field: str | None,
        old_value: str | None,
        new_value: str | None,
        source: str | None = None,
    ) -> None:
        """Add an entry; `at` has a zone, `source` is where the change came from."""
        if guid not in self._seen:
            told_at = at.astimezone(UTC).replace(tzinfo=None)
            self._rows.append((guid, person_id, told_at, field, old_value, new_value, source))

    def ask_for(self, guid: str, person_id: int, at: datetime) -> None:
        """Add an entry that tells of a change and not surely of which field: its person is read again, whatever is held."""
        if guid not in self._seen:
            self.add(guid, person_id, at, None, None, None)
            self._asked_for.add(person_id)

    def note_seen(self, connection: duckdb.DuckDBPyConnection, forget_before: datetime) -> None:
        """Remember the entries, and forget those that no later read can show; call it where the feed's cursor moves."""
        entries = {guid: at for guid, _, at, *_ in self._rows}
        if entries:
            import pyarrow as pa  # not before there are rows

            guids, times = list(entries), pa.array(list(entries.values()), pa.timestamp("us"))
            connection.register("entries", pa.table({"guid": guids, "changed_at": times}))
            connection.execute("insert into state.feed_seen by name from entries")
            connection.unregister("entries")
        connection.execute(
            "delete from state.feed_seen where changed_at < ?", [forget_before.astimezone(UTC).replace(tzinfo=None)]
        )

    @property
    def told(self) -> set[tuple[int, str | None]]:
        """Whom the entries tell of, and which of their fields."""
        return {(person_id, field) for _, person_id, _, field, *_ in self._rows}

    def changed_people(self, connection: duckdb.DuckDBPyConnection) -> list[int]:
        """Ids of people the mirror does not hold, or holds with another value than the feed told last, in order."""
        if not self._rows:
            return []
        self._tell(connection)
        rows = connection.execute(_CHANGED.format(wide=self._told_people())).fetchall()
        return sorted({row[0] for row in rows} | self._asked_for)

    def unseen_edits(self, connection: duckdb.DuckDBPyConnection) -> list[UnseenEdit]:
        """Values that our writes overwrote, where these differ from what we believed to overwrite.

        Notes in `state.feed_matched` which of our writes the feed has shown; call it where the feed's cursor moves.
        """
        if not self._rows or _is_empty(connection, "ledger.changes"):
            return []
        self._tell(connection)
        connection.execute(_MATCHED)
        found = [UnseenEdit(*row) for row in connection.execute(_UNSEEN).fetchall()]
        connection.execute("insert into state.feed_matched (change_id) select change_id from matched")
        connection.execute(_FORGOTTEN)
        return found

    def note_edits(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep when fields of linked people were edited that the newest edit decides; call it where the cursor moves."""
        if self._rows and follows_edits(connection):
            self._tell(connection)
            connection.execute(_EDITED)

    def end_false_standing_differences(self, connection: duckdb.DuckDBPyConnection) -> None:
        """What was read back other than it was sent may be an edit made in between: the feed then shows ours before it."""
        if not self._rows or _is_empty(connection, "state.standing_differences"):
            return
        self._tell(connection)
        edited = connection.execute(_EDITED_AFTER_OURS).fetchall()
        for person_id, field in edited:
            connection.execute(
                "delete from state.standing_differences where person_id = ? and field = ?", [person_id, field]
            )
            connection.execute("insert into inbox.touched (person_id, is_receipt) values (?, false)", [person_id])

    def note_told(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep when and from where values came, for the observations of the people read just now (`ledger.observations`)."""
        connection.execute("delete from inbox.told_changes")
        if self._rows:
            self._tell(connection)
            connection.execute(
                "insert into inbox.told_changes (person_id, field, value, changed_at, source) "
                "select person_id, field, new_value, max(changed_at), max_by(source, (changed_at, place)) from told "
                "where field is not null group by all"
            )

    def land_for_parity(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep the entries about linked people for the next plan in shadow; call it where the feed's cursor moves."""
        if self._rows:
            self._tell(connection)
            connection.execute(_LANDED)

    def land_after_cut(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep what the feed tells in `inbox.feed_after_cut`, canonical, for finding out what was written before a cut."""
        if self._rows:
            self._tell(connection)
            connection.execute(
                "insert into inbox.feed_after_cut (guid, person_id, field, old_value, value, place) "
                "select guid, person_id, field, old_value, new_value, place from told where field is not null"
            )

    def _tell(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the entries a temporary table `told`, with values as they are compared (R45); once, when all were added."""
        if self._is_told:
            return
        import pyarrow as pa  # not before there are rows

        guids, ids, times, fields, old_values, new_values, sources = zip(*self._rows, strict=True)
        connection.register(
            "feed",
            pa.table(
                {
                    "guid": pa.array(guids, pa.string()),
                    "person_id": pa.array(ids, pa.int64()),
                    "changed_at": pa.array(times, pa.timestamp("us")),
                    "field": pa.array(fields, pa.string()),
                    "old_value": pa.array(old_values, pa.string()),
                    "new_value": pa.array(new_values, pa.string()),
                    "source": pa.array(sources, pa.string()),
                    "place": pa.array(range(len(ids)), pa.int64()),
                }
            ),
        )
        own = self._columns.own
        types = {**self._columns.kinds, **dict.fromkeys((own.lead_id, own.contact_id, own.company), "guid")}
        types |= {own.is_deleted: FieldType.BOOLEAN, own.created_on: FieldType.DATETIME}
        connection.execute(_TOLD, {"fields": list(types), "types": list(types.values())})
        connection.unregister("feed")
        if has_erased(connection):
            connection.execute("delete from told where is_erased('person:' || person_id)")
        self._is_told = True

    def _told_people(self) -> str:
        """A query of what the mirror holds of those told of, in the fields told of, by the names that the feed has for these."""
        fields = {field for _, _, _, field, *_ in self._rows}
        held = {name: name for name in self._columns.kinds} | self._columns.mirror_of_own
        told = "".join(f", {quoted(held[name])} as {quoted(name)}" for name in sorted(held.keys() & fields))
        columns = f'person_id, null::varchar as "(nothing)"{told}'  # none of them may be one that is read
        return rows_of("mirror.marketo_people", "person_id", "select person_id from told", columns)


def _is_empty(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return not connection.execute(f"select 1 from {table} limit 1").fetchall()


def note_unseen_edits(connection: duckdb.DuckDBPyConnection, edits: Sequence[UnseenEdit]) -> None:
    """Store unseen edits until they are settled; call it where the feed's cursor moves, so that none is stored twice."""
    for edit in edits:
        connection.execute(
            "insert into state.unseen_edits (person_id, field, value, change_id) values (?, ?, ?, ?)", list(edit)
        )
        connection.execute("insert into inbox.touched (person_id, is_receipt) values (?, false)", [edit.person_id])


_TOLD = """
create or replace temp table told as
with types as (
    select unnest($fields::varchar[]) as field, unnest($types::varchar[]) as type
),
sides as (
    select
        guid, person_id, changed_at, place, feed.field, type, source,
        unnest(['old', 'new']) as side, unnest([old_value, new_value]) as value
    from feed left join types using (field)
)
select
    guid, person_id, changed_at, place, field, source,
    max(canonical) filter (where side = 'old') as old_value,
    max(canonical) filter (where side = 'new') as new_value
from (
    select
        *,
        case type
            when 'integer' then canonical_integer(value)
            when 'decimal' then canonical_decimal(value)
            when 'boolean' then coalesce(canonical_boolean(value), 'false')
            when 'date' then canonical_date(value)
            when 'datetime' then canonical_datetime(value)
            when 'guid' then canonical_guid(value)
            else canonical_text(value)
        end as canonical
    from sides
)
group by all
"""

_CHANGED = """
with latest as (
    select person_id, field, new_value from told where field is not null
    qualify row_number() over (partition by person_id, field order by changed_at desc, place desc) = 1
),
wide as materialized ({wide}),
held as (
    select person_id, field, value from long_of('wide')
)
select distinct person_id from told where person_id not in (select person_id from wide)
union
select latest.person_id
from latest
left join held on held.person_id = latest.person_id and held.field = latest.field
where latest.new_value is distinct from coalesce(held.value, case when latest.new_value = 'false' then 'false' end)
order by 1
"""

# What a text in Marketo is compared as, like in `state.marketo_values`: a label as the option that it means, because another
# label of the same option is no edit (R33), and a decimal in the places of its column (R45). `k` is a row of the CTE `kinds`,
# one per field.
_COMPARED = (
    "case k.type when 'decimal' then rounded({text}, k.precision) else compared_options({text}, k.type, k.known) end"
)
_KINDS = """
kinds as (
    select f.record_type, f.field, f.type, c.precision, o as known
    from reconcile.fields f
    left join state.columns c on c.system = 'dynamics' and c.record_type = f.record_type and c.name = f.dynamics_column
    left join state.option_maps o on o.record_type = f.record_type and o.dynamics_column = f.dynamics_column
)
"""

# Our writes of the last hour that the feed had not shown, each with the first new entry that tells our value, or what
# Marketo made of it: that entry is our own, and its old value is what our write really replaced. A standing difference of
# that kind is of the last write of its field.
_MATCHED = f"""
create or replace temp table matched as
with {_KINDS},
recent as (
    select c.*, row_number() over (partition by c.person_id, c.field order by c.entry_id desc) = 1 as is_last
    from ledger.changes c
    where c.direction = 'to_marketo' and c.person_id in (select person_id from told)
      and c.changed_at > (select max_by(changed_at, entry_id) from ledger.changes) - interval 1 hour
),
waiting as (
    select
        r.*, k, {_COMPARED.format(text="r.old_value")} as known_value,
        case when s.person_id is null then {_COMPARED.format(text="r.new_value")} else s.marketo_value end as kept_value
    from recent r
    left join kinds k on k.record_type = r.record_type and k.field = r.field
    left join state.standing_differences s
        on r.is_last and s.person_id = r.person_id and s.field = r.field and s.reason_code = 'kept_by_marketo'
    where r.entry_id not in (select change_id from state.feed_matched)
),
shown as (
    select
        w.*, t.changed_at as told_at, t.place, t.old_value as replaced_text,
        {_COMPARED.format(text="t.old_value")} as replaced_value,
        {_COMPARED.format(text="t.new_value")} as told_value
    from waiting w
    join told t on t.person_id = w.person_id and t.field = w.field
)
select entry_id as change_id, person_id, field, rule_code, known_value, replaced_value, replaced_text
from shown
where told_value is not distinct from kept_value
qualify row_number() over (partition by person_id, field, kept_value order by told_at, place, entry_id) = 1
"""

_UNSEEN = """
select person_id, field, replaced_text, change_id
from matched
where known_value is distinct from replaced_value
  and not (coalesce(known_value, 'false') = 'false' and coalesce(replaced_value, 'false') = 'false')
  and rule_code <> 'new_in_dynamics'
"""

_EDITED = f"""
insert into state.marketo_edits (person_id, field, value, told_at)
with {_KINDS}
select t.person_id, t.field, {_COMPARED.format(text="t.new_value")}, t.changed_at
from told t
join state.links l using (person_id)
join reconcile.fields f on f.record_type = l.record_type and f.field = t.field and f.collision = 'newest'
join kinds k on k.record_type = l.record_type and k.field = t.field
"""

_LANDED = f"""
insert into inbox.feed_entries (person_id, field, old_value, new_value, changed_at, place, source)
with {_KINDS}
select
    t.person_id, t.field, {_COMPARED.format(text="t.old_value")}, {_COMPARED.format(text="t.new_value")}, t.changed_at, t.place,
    t.source
from told t
join state.links l using (person_id)
join kinds k on k.record_type = l.record_type and k.field = t.field
"""

_FORGOTTEN = """
delete from state.feed_matched
where change_id not in (
    select entry_id from ledger.changes
    where changed_at > (select max_by(changed_at, entry_id) from ledger.changes) - interval 2 hours
)
"""

_EDITED_AFTER_OURS = f"""
with {_KINDS}
select distinct s.person_id, s.field
from state.standing_differences s
join (
    select person_id, record_type, field, new_value from ledger.changes
    where direction = 'to_marketo' and person_id in (select person_id from told)
    qualify row_number() over (partition by person_id, field order by entry_id desc) = 1
) c on c.person_id = s.person_id and c.field = s.field
join told t on t.person_id = s.person_id and t.field = s.field
left join kinds k on k.record_type = c.record_type and k.field = c.field
where s.reason_code = 'kept_by_marketo'
  and s.marketo_value is distinct from {_COMPARED.format(text="c.new_value")}
  and t.old_value is not distinct from c.new_value and t.new_value is distinct from c.new_value
"""
