"""Marketo people: the first load by bulk extract, later the change feed as a list of ids that are read again.

Not here: what a change means (`reconcile/`), what DynSync wrote itself (`write_back/`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.extract.absence import confirm_people, due_suspects, suspect
from dynsync_pipeline.extract.bulk_load import begin_load, load_people
from dynsync_pipeline.extract.feed import OVERLAP, Feed, note_unseen_edits
from dynsync_pipeline.extract.unread import reread_unread_people
from dynsync_pipeline.extract.untold import PERSON, note_forgotten, withdraw_told_people
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cursors import PEOPLE, Cursor, move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import (
    PersonColumns,
    land_deleted_people,
    land_people,
    take_in_people,
)
from dynsync_pipeline.warehouse.unread import note_unread_people

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

DELETIONS_KEPT = timedelta(days=13)  # Marketo may forget them after 14; a day is kept in reserve
CHANGE_SCORE = 22
MERGE_LEADS = 32
UNREAD_ENTRY = "an entry of Marketo's feed about them"


def extract_people(warehouse: Warehouse, client: Marketo, settings: Settings, fields: FieldMap) -> int:
    """Bring the mirror of people up to date; returns the number of people that were read.

    The feed says who changed, and to what; people of whom the mirror holds just that are not read again, which is how
    the sync's own writes coming back cost nothing (R9, R12, R69). Raises: ApiError.
    """
    columns = PersonColumns(fields, settings.own_fields)
    with warehouse.reading() as connection:
        cursor = read_cursor(connection, PEOPLE)
    start = None
    of_load = PersonColumns(replace(fields, being_read=()), settings.own_fields)
    if cursor.is_loaded and cursor.names.issuperset(columns.mirror_of_own):
        start = client.start_of_feed(_feed_time(cursor) - OVERLAP)
        if start.server_time - _feed_time(cursor) > DELETIONS_KEPT:
            log.warning(
                "Marketo's feed was read last on %s and forgets: everybody is read again.", _feed_time(cursor).date()
            )
            with warehouse.transaction() as connection:
                begin_load(connection, settings, of_load, start.server_time)
                note_forgotten(connection, PERSON, warehouse.now())
            start = None
    n_loaded = 0
    if start is None:
        load_people(warehouse, client, settings, of_load)
        with warehouse.transaction() as connection:
            # Before the feed is read, which tells who was deleted during the load.
            n_loaded = take_in_people(connection, warehouse.now())
        with warehouse.reading() as connection:
            cursor = read_cursor(connection, PEOPLE)
        start = client.start_of_feed(_feed_time(cursor) - OVERLAP)
    _take_in_what_a_cut_left(warehouse)
    since = _feed_time(cursor) - OVERLAP
    gone, merges, unread = _gone_people(client, start.token)
    feed = _read_feed(warehouse, client, columns, start.token)
    with warehouse.reading() as connection:
        changed = feed.changed_people(connection)
    person_ids = sorted({*changed, *merges.values()} - gone)
    people = client.people("id", [str(person_id) for person_id in person_ids], columns.names) if person_ids else None
    with warehouse.transaction() as connection:
        if people is not None:
            land_people(connection, columns, people)
            suspect(connection, warehouse, PERSON, [*_not_shown(person_ids, people), *_maybe_merged(connection)])
        note_unread_people(connection, [(i, UNREAD_ENTRY) for i in (*unread, *feed.unread_ids)])
        land_deleted_people(connection, sorted(gone))
        connection.execute(
            "insert into inbox.merges (loser_id, winner_id) select unnest(?::bigint[]), unnest(?::bigint[])",
            [[*merges], [*merges.values()]],
        )
        withdraw_told_people(connection, gone.union(merges.values()), feed.told)
        note_unseen_edits(connection, feed.unseen_edits(connection))
        feed.note_edits(connection)
        feed.end_false_standing_differences(connection)
        feed.note_seen(connection, since - OVERLAP)
        feed.note_told(connection)
        if settings.is_shadow:
            feed.land_for_parity(connection)
        read_until, names = start.server_time.astimezone(UTC).isoformat(), read_cursor(connection, PEOPLE).names
        move_cursor(connection, PEOPLE, read_until, names, is_loaded=True)
    with warehouse.transaction() as connection:
        n_read = n_loaded + take_in_people(connection, warehouse.now())
    is_reread = reread_unread_people(warehouse, client, columns)
    suspects = due_suspects(warehouse, PERSON)
    if suspects:
        confirm_people(warehouse, client, columns, [int(person_id) for person_id in suspects])
    elif not is_reread:
        return n_read
    with warehouse.transaction() as connection:
        return n_read + take_in_people(connection, warehouse.now())


def _take_in_what_a_cut_left(warehouse: Warehouse) -> None:
    """Or the feed would be held against an older mirror, and who took an edit back since would not be read again."""
    with warehouse.reading() as connection:
        is_empty = not connection.execute("select 1 from inbox.marketo_people limit 1").fetchall()
    if not is_empty:
        with warehouse.transaction() as connection:
            take_in_people(connection, warehouse.now())


def _not_shown(person_ids: Sequence[int], people: pa.Table) -> list[str]:
    """Of whom a feed told and a read by id shows nothing; the feed of deletions may not tell it, or not yet."""
    shown = set(people.column("id").to_pylist())
    return [str(person_id) for person_id in person_ids if str(person_id) not in shown]


def _maybe_merged(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Who is linked to a record whose key somebody else bears, who landed just now and bears keys of both types: as after a
    merge, of which the log may not tell, or too late (R25). Call it before people are taken in.
    """
    if not connection.execute(f"select 1 from ({_WITH_BOTH_KEYS}) limit 1").fetchall():
        return []
    return [row[0] for row in connection.execute(_LINKED_OTHERWISE).fetchall()]


_WITH_BOTH_KEYS = """
select person_id, dynamics_contact_id, dynamics_lead_id from inbox.marketo_people
where dynamics_contact_id is not null and dynamics_lead_id is not null
"""
_LINKED_OTHERWISE = f"""
select distinct l.person_id::varchar
from ({_WITH_BOTH_KEYS}) i
join state.links l
    on l.dynamics_id = case l.record_type when 'contact' then i.dynamics_contact_id else i.dynamics_lead_id end
where l.person_id <> i.person_id
order by 1
"""

# Labels that mean one field; a score is told by its label alone.
_UNIQUE_LABELS = """
select label, min(name) from state.columns
where system = 'marketo' and label is not null group by label having count(*) = 1
"""


def _feed_time(cursor: Cursor) -> datetime:
    """Up to when the feed was read, by Marketo's clock."""
    return datetime.fromisoformat(cursor.value or "")


def _gone_people(client: Marketo, token: str) -> tuple[set[int], dict[int, int], list[int | None]]:
    """Ids that Marketo deleted (R81) or merged away, and of the latter whom they were merged into. Ids are never used again.

    Third, the people of entries that cannot be read.
    """
    gone: set[int] = set()
    merges: dict[int, int] = {}
    unread: list[int | None] = []
    for deletions in client.deleted_people(token):
        gone.update(deleted.person_id for deleted in deletions.items)
        unread += deletions.unread_ids
    for page in client.activities(token, [MERGE_LEADS]):
        unread += page.unread_ids
        for merge in page.items:
            losers = map(int, re.findall(r"\d+", merge.attributes.get("Merge IDs") or ""))
            merges |= dict.fromkeys(losers, merge.person_id)
    return gone | merges.keys(), merges, unread


def _read_feed(warehouse: Warehouse, client: Marketo, columns: PersonColumns, token: str) -> Feed:
    """The entries since `token` that were not taken in before: changed values, and scores, which have a type of their own."""
    with warehouse.reading() as connection:
        labels = dict(connection.execute(_UNIQUE_LABELS).fetchall())
        seen = {row[0] for row in connection.execute("select guid from state.feed_seen").fetchall()}
    feed = Feed(columns, seen)
    for page in client.changes(token, columns.told):
        feed.unread_ids += page.unread_ids
        for change in page.items:
            feed.add(
                change.guid,
                change.person_id,
                change.at,
                change.field,
                change.old_value,
                change.new_value,
                change.source,
            )
    for scores in client.activities(token, [CHANGE_SCORE]):
        feed.unread_ids += scores.unread_ids
        for score in scores.items:
            feed.ask_for(score.guid, score.person_id, score.at)  # a label may be shared, or new since it was learned
            field = labels.get(score.primary_value or "")
            if field in columns.kinds:
                values = score.attributes
                told = (values.get("Old Value"), values.get("New Value"), values.get("Source"))
                feed.add(score.guid, score.person_id, score.at, field, *told)
    return feed
