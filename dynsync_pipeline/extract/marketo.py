"""Marketo people: the first load by bulk extract, later the change feed as a list of ids that are read again.

Not here: what a change means (`reconcile/`), what DynSync wrote itself (`write_back/`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.extract.bulk_load import STREAM, load_people
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import (
    COMPANY_KEY,
    PersonColumns,
    land_deleted_people,
    land_people,
    take_in_people,
)

OVERLAP = timedelta(minutes=10)  # the feed's order and times are not exact; what repeats is compared and skipped
CHANGE_SCORE = 22
MERGE_LEADS = 32


def extract_people(warehouse: Warehouse, client: MarketoClient, settings: Settings, fields: FieldMap) -> int:
    """Bring the mirror of people up to date; returns the number of people that were read.

    The feed says who changed, and to what; people of whom the mirror holds just that are not read again, which is how
    the sync's own writes coming back cost nothing (R9, R12). Raises: ApiError.
    """
    columns = PersonColumns.of(settings, fields)
    with warehouse.reading() as connection:
        cursor = read_cursor(connection, STREAM)
    if not cursor.continues(columns.names) or not cursor.is_loaded:
        load_people(warehouse, client, settings, columns)
        with warehouse.reading() as connection:
            cursor = read_cursor(connection, STREAM)
    since = datetime.fromisoformat(cursor.value or "") - OVERLAP
    start = client.start_of_feed(since)
    gone, winners = _gone_people(client, start.token)
    person_ids = sorted({*_changed_people(warehouse, client, columns, start.token), *winners} - gone)
    people = client.people("id", [str(person_id) for person_id in person_ids], columns.names) if person_ids else None
    with warehouse.transaction() as connection:
        if people is not None:
            land_people(connection, columns, people)
        land_deleted_people(connection, sorted(gone))
        move_cursor(connection, STREAM, start.server_time.astimezone(UTC).isoformat(), columns.names, is_loaded=True)
    with warehouse.transaction() as connection:
        return take_in_people(connection)


def _gone_people(client: MarketoClient, token: str) -> tuple[set[int], set[int]]:
    """Ids that Marketo deleted (R81) or merged away, and the ids they were merged into. Ids are never used again."""
    gone = {deleted.person_id for page in client.deleted_people(token) for deleted in page.items}
    winners = set()
    for page in client.activities(token, [MERGE_LEADS]):
        for merge in page.items:
            winners.add(merge.person_id)
            gone.update(int(loser) for loser in re.findall(r"\d+", merge.attributes.get("Merge IDs") or ""))
    return gone, winners


def _changed_people(warehouse: Warehouse, client: MarketoClient, columns: PersonColumns, token: str) -> list[int]:
    """Ids of people the mirror does not hold, or holds with another value than the feed told last."""
    ids: list[int] = []
    fields: list[str | None] = []
    values: list[str | None] = []
    times: list[datetime] = []
    for page in client.changes(token, columns.names):
        for change in page.items:
            ids.append(change.person_id)
            fields.append(change.field)
            values.append(change.new_value)
            times.append(change.at.astimezone(UTC).replace(tzinfo=None))
    with warehouse.reading() as connection:
        labels = dict(connection.execute("select label, name from state.columns where system = 'marketo'").fetchall())
    for scores in client.activities(token, [CHANGE_SCORE]):
        for activity in scores.items:
            field = labels.get(activity.primary_value or "")
            if field in columns.fields.person_fields:
                ids.append(activity.person_id)
                fields.append(field)
                values.append(activity.attributes.get("New Value"))
                times.append(activity.at.astimezone(UTC).replace(tzinfo=None))
    if not ids:
        return []
    feed = pa.table(
        {
            "person_id": pa.array(ids, pa.int64()),
            "field": pa.array(fields, pa.string()),
            "new_value": pa.array(values, pa.string()),
            "changed_at": pa.array(times, pa.timestamp("us")),
            "place": pa.array(range(len(ids)), pa.int64()),
        }
    )
    with warehouse.reading() as connection:
        connection.register("feed", feed)
        try:
            return [row[0] for row in connection.execute(_news_of(columns)).fetchall()]
        finally:
            connection.unregister("feed")


def _news_of(columns: PersonColumns) -> str:
    keys = f"['{columns.lead_id}', '{columns.contact_id}', '{COMPANY_KEY}']"
    return _NEWS.format(mirror=_mirror_of(columns), keys=keys, flag=f"'{columns.is_deleted}'")


def _mirror_of(columns: PersonColumns) -> str:
    own = ", ".join(f"{name} as {quoted(rest_name)}" for rest_name, name in columns.own.items())
    names = "".join(f", {quoted(name)}" for name in columns.fields.person_fields)
    return f"select person_id, {own}{names} from mirror.marketo_people"


_NEWS = """
with types as (
    select distinct field, type from reconcile.fields where record_type in ('contact', 'lead')
    union all
    select unnest({keys}), 'guid'
    union all
    select {flag}, 'boolean'
),
told as (
    select
        feed.person_id,
        feed.field,
        case any_value(types.type)
            when 'integer' then canonical_integer(arg_max(new_value, (changed_at, place)))
            when 'decimal' then canonical_decimal(arg_max(new_value, (changed_at, place)))
            when 'boolean' then canonical_boolean(arg_max(new_value, (changed_at, place)))
            when 'date' then canonical_date(arg_max(new_value, (changed_at, place)))
            when 'guid' then canonical_guid(arg_max(new_value, (changed_at, place)))
            when 'datetime' then canonical_datetime(arg_max(new_value, (changed_at, place)))
            else canonical_text(arg_max(new_value, (changed_at, place)))
        end as value
    from (select * replace (coalesce(new_value, '') as new_value) from feed where field is not null) feed
    left join types on types.field = feed.field
    group by feed.person_id, feed.field
),
held as (
    select person_id, field, value
    from (unpivot (select * from ({mirror}) where person_id in (select person_id from feed))
          on columns(* exclude (person_id)) into name field value value)
)
select distinct feed.person_id
from feed
where feed.person_id not in (select person_id from mirror.marketo_people)
   or feed.person_id in (
       select told.person_id
       from told left join held on held.person_id = told.person_id and held.field = told.field
       where told.value is distinct from held.value
   )
order by 1
"""
