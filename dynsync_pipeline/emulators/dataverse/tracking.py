"""Change tracking: the first read with a delta link, and the changes since.

Versions do all the work: one counter over all tables, each row carries the version of its last write, deletions are
kept as (entity, id, version).
Source: docs/protocols/dataverse.md#change-tracking.
"""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.cookies import Cookie, Stamp
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request, expired_version
from dynsync_pipeline.emulators.dataverse.reads import BOM, MAX_PAGE, applied, context_suffix, page_body
from dynsync_pipeline.emulators.dataverse.rows import page_size, row_sql, selected_columns
from dynsync_pipeline.emulators.dataverse.schema import Table

FORBIDDEN = ("$filter", "$orderby", "$expand", "$top", "$count", "$apply")


def is_tracked(call: Call) -> bool:
    """Whether a read belongs to change tracking: asked for by header, or continued by a link."""
    return "odata.track-changes" in call.preferences or "$deltatoken" in call.options or _tracking_cookie(call)


def read_tracked(call: Call, table: Table) -> Answer:
    """Answer a first read, a delta read, or a further page of either.

    Raises DataverseError: 400 for other query options, tables without change tracking and expired stamps; 403 without
    organization-wide read.
    """
    for option in FORBIDDEN:
        if option in call.options:
            raise bad_request(f'The "{option}" query parameter isn\'t supported when Change Tracking is enabled.')
    call.require("Read", table, everywhere=True)
    if not table.change_tracking:
        raise DataverseError(400, "0x80072491", f"Entity {table.name} isn't enabled for change tracking.")
    if "$deltatoken" in call.options:
        stamp = Stamp.decode(call.options["$deltatoken"])
        _refuse_if_expired(call, table, stamp)
        return _delta(call, table, stamp)
    return _first(call, table)


def count_changes(call: Call, table: Table) -> Answer:
    """Answer `GET contacts/$count?$deltatoken=…`: changed and deleted rows since."""
    call.require("Read", table, everywhere=True)
    stamp = Stamp.decode(call.options["$deltatoken"])
    _refuse_if_expired(call, table, stamp)
    n = call.connection.execute(
        f'select (select count(*) from "{table.name}" where versionnumber > ?) '
        "+ (select count(*) from deleted where entity = ? and version > ?)",
        (stamp.version, table.name, stamp.version),
    ).fetchone()[0]
    return Answer(200, BOM + str(n).encode(), {"Content-Type": "text/plain"})


def _first(call: Call, table: Table) -> Answer:
    """All rows by key. The stamp is taken before the first page, so that edits made while paging come again."""
    columns = selected_columns(call, table, call.options.get("$select"))
    size = page_size(call) or MAX_PAGE
    if "$skiptoken" in call.options:
        cookie = Cookie.decode(call.options["$skiptoken"])
        page, (last_id, stamp_text) = cookie.page, _texts(cookie, 2)
        stamp = Stamp.decode(stamp_text)
        _refuse_if_expired(call, table, stamp)
    else:
        page, last_id, stamp = 1, "", _stamp_now(call)
    key = f't."{table.primary_id}"'
    rows = call.connection.execute(
        f'select {row_sql(call, table, columns)}, {key} from "{table.name}" t where {key} > ? order by {key} limit ?',
        (last_id, size + 1),
    ).fetchall()
    if len(rows) > size:
        cookie = Cookie(page + 1, [rows[size - 1][1], str(stamp)], is_tracking=True)
        links = {"@odata.nextLink": _link(call, None, cookie)}
    else:
        links = {"@odata.deltaLink": _link(call, stamp, None)}
    body = page_body(call, table, [row[0] for row in rows[:size]], links, None, context_suffix(call.options))
    return Answer.json(
        body, headers=applied(call, "odata.track-changes", "odata.maxpagesize", "odata.include-annotations")
    )


def _delta(call: Call, table: Table, stamp: Stamp) -> Answer:
    """Rows written since the stamp, oldest version first, then the deletions (9.20)."""
    columns = selected_columns(call, table, call.options.get("$select"))
    size = page_size(call) or MAX_PAGE
    page, kind, last, upto = 1, "row", stamp.version, _stamp_now(call)
    if "$skiptoken" in call.options:
        cookie = Cookie.decode(call.options["$skiptoken"])
        kind, last_text, upto_text = _texts(cookie, 3)
        page, last, upto = cookie.page, Stamp.decode(last_text).version, Stamp.decode(upto_text)
    entries: list[tuple[str, int, str]] = []
    if kind == "row":
        entries = call.connection.execute(
            f"select {row_sql(call, table, columns)}, t.versionnumber, 'row' from \"{table.name}\" t "
            "where t.versionnumber > ? and t.versionnumber <= ? order by t.versionnumber limit ?",
            (last, upto.version, size + 1),
        ).fetchall()
    if len(entries) <= size:
        context = f"{call.root}$metadata#{table.entity_set}/$deletedEntity"
        entries += call.connection.execute(
            """select printf('{"@odata.context":"%s","id":"%s","reason":"deleted"}', ?, id), version, 'deletion' """
            "from deleted where entity = ? and version > ? and version <= ? order by version limit ?",
            (context, table.name, last if kind == "deletion" else stamp.version, upto.version, size + 1 - len(entries)),
        ).fetchall()
    if len(entries) > size:
        _, last, kind = entries[size - 1]
        state: list[object] = [kind, str(Stamp(last, upto.made_at)), str(upto)]
        links = {"@odata.nextLink": _link(call, None, Cookie(page + 1, state))}
    else:
        links = {"@odata.deltaLink": _link(call, upto, None)}
    body = page_body(
        call, table, [entry[0] for entry in entries[:size]], links, None, context_suffix(call.options) + "/$delta"
    )
    return Answer.json(body, headers=applied(call, "odata.maxpagesize", "odata.include-annotations"))


def _stamp_now(call: Call) -> Stamp:
    """A stamp at the newest version this connection sees."""
    return Stamp(call.store.seen_version(call.connection), call.store.now())


def _refuse_if_expired(call: Call, table: Table, stamp: Stamp) -> None:
    """Stamps die by age, and when the table's definition changes (9.21)."""
    days = call.connection.execute("select expirechangetrackingindays from organization").fetchone()[0]
    too_old = call.store.now() - stamp.made_at >= timedelta(days=days) + timedelta(seconds=1)
    if too_old or stamp.version < max(table.changed_at_version, call.store.tracking_floor):
        raise expired_version()


def _tracking_cookie(call: Call) -> bool:
    return "$skiptoken" in call.options and Cookie.decode(call.options["$skiptoken"]).is_tracking


def _texts(cookie: Cookie, n: int) -> list[str]:
    if len(cookie.state) != n or not all(isinstance(value, str) for value in cookie.state):
        raise bad_request("The paging cookie does not fit the query.", "0x80040203")
    return [str(value) for value in cookie.state]


def _link(call: Call, stamp: Stamp | None, cookie: Cookie | None) -> str:
    """A link to go on with: the original selection, and a delta token or a skip token."""
    replaced = ("$skiptoken=", "%24skiptoken=", *(("$deltatoken=", "%24deltatoken=") if stamp else ()))
    kept = [part for part in call.query.split("&") if part and not part.startswith(replaced)]
    token = f"$deltatoken={stamp.encode()}" if stamp else f"$skiptoken={cookie.encode()}" if cookie else ""
    return f"{call.url}?{'&'.join([*kept, token])}"
