"""Whom `dynsync forget` is about: everything by which the working file knows somebody, and what of it is only theirs.

Not here: erasing them (`forget.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb

from dynsync_pipeline.errors import ErasureRefused
from dynsync_pipeline.look.explain import GUID, PERSON_ID
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.erased import person_name, rows_of_others

SHORTEST = 6  # characters of a value that is looked for: shorter ones stand by chance in other values


@dataclass(frozen=True)
class Person:
    """Somebody by all ids that the working file knows, and where they live still.

    `values`: ids of records and texts that stand nowhere else; `cells`: these, and addresses that are a part of another's.
    """

    person_ids: tuple[int, ...]
    record_ids: tuple[str, ...]
    lives_as: tuple[str, ...]
    values: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """What is hashed."""
        return [*map(person_name, self.person_ids), *self.record_ids]

    @property
    def told(self) -> str:
        """The ids, as they are told."""
        ids = (*(f"person {each}" for each in self.person_ids), *(f"record {each}" for each in self.record_ids))
        return " and ".join(ids).capitalize()


def identify(connection: duckdb.DuckDBPyConnection, key: str, *, is_cut: bool = False) -> Person:
    """Whoever `key` names, with all ids that ever were theirs. Raises: ErasureRefused, where it names nobody, or several.

    `is_cut`: whether an erasure was cut, maybe of this person, of whom the working file then knows nothing any more.
    """
    key = key.strip()
    if PERSON_ID.fullmatch(key):
        names = [person_name(int(key))]
    elif guid := GUID.fullmatch(key):
        names = [guid[1].lower()]
    elif "@" in key:
        names = _by_email(connection, key.lower())
    else:
        raise ErasureRefused("That is neither a Marketo id, nor a Dynamics id, nor an e-mail address.")
    if len(names) > 1:
        raise ErasureRefused(
            f"{len(names)} people and records bear that address.", next_step="Name one of them by its id."
        )
    pairs = connection.execute(_SAME_PERSON).fetchall()
    theirs, n_before = set(names), 0
    while len(theirs) > n_before:
        n_before = len(theirs)
        theirs |= {name for pair in pairs if theirs & set(pair) for name in pair}
    person_ids = tuple(sorted(int(name.partition(":")[2]) for name in theirs if ":" in name))
    record_ids = tuple(sorted(name for name in theirs if ":" not in name))
    living = connection.execute(_LIVING, [list(person_ids), list(record_ids)]).fetchall()
    known = connection.execute(_KNOWN, [list(person_ids), list(record_ids)]).fetchall()
    if not known:
        raise ErasureRefused(
            "Nobody is known by that name.",
            next_step="An erasure was cut: `dynsync forget --finish` ends it."
            if is_cut
            else "`dynsync explain` shows who is.",
        )
    values, addresses = _values(connection, theirs)
    return Person(
        person_ids,
        record_ids,
        tuple(row[0] for row in living),
        (*record_ids, *values),
        (*record_ids, *values, *addresses),
    )


# Each pair is of one natural person: a link, now or before, a request, a lead and the contact it became, a record merged.
_SAME_PERSON = """
select 'person:' || person_id, dynamics_id from state.links
union select 'person:' || person_id, dynamics_id from state.tombstones
union select 'person:' || person_id, dynamics_id from state.requested
union select 'person:' || person_id, dynamics_id from ledger.changes where person_id is not null and record_type <> 'account'
union select 'person:' || person_id, dynamics_contact_id from mirror.marketo_people where dynamics_contact_id is not null
union select 'person:' || person_id, dynamics_lead_id from mirror.marketo_people where dynamics_lead_id is not null
union select lead_id, contact_id from mirror.conversions
union select dynamics_id, master_id from mirror.merged_records
union select 'person:' || winner_person_id, 'person:' || loser_person_id from ledger.merge_proposals where state = 'merged'
"""
_LIVING = """
select 'person ' || person_id || ' in Marketo' from mirror.marketo_people
where not is_deleted and list_contains($1::bigint[], person_id)
union all
select record_type || ' ' || dynamics_id || ' in Dynamics' from mirror.person_records
where not is_deleted and list_contains($2::varchar[], dynamics_id)
order by 1
"""
_KNOWN = """
select 1 from mirror.marketo_people where list_contains($1::bigint[], person_id)
union all select 1 from mirror.person_records where list_contains($2::varchar[], dynamics_id)
union all select 1 from ledger.changes where list_contains($1::bigint[], person_id) or list_contains($2::varchar[], dynamics_id)
union all select 1 from state.tombstones where list_contains($1::bigint[], person_id) or list_contains($2::varchar[], dynamics_id)
limit 1
"""


def _by_email(connection: duckdb.DuckDBPyConnection, email: str) -> list[str]:
    names = set()
    for table, id_column, columns in _sources(connection, "email"):
        test = " or ".join(f"lower({quoted(column)}) = ?" for column in columns)
        name = "'person:' || person_id" if id_column == "person_id" else id_column
        if test:
            names |= {
                row[0]
                for row in connection.execute(
                    f"select {name} from {table} where {test}", [email] * len(columns)
                ).fetchall()
            }
    pairs = connection.execute(_SAME_PERSON).fetchall()
    # A person and the record they are linked to are one.
    return sorted(names - {pair[1] for pair in pairs if {*pair} <= names})


def _sources(connection: duckdb.DuckDBPyConnection, field: str | None = None) -> list[tuple[str, str, list[str]]]:
    """The mirrors of people and their records: table, id, and the columns of one mapped text, or of all."""
    rows = connection.execute(
        "select distinct field, dynamics_column from reconcile.fields "
        "where record_type <> 'account' and type = 'text' and field = coalesce(?, field)",
        [field],
    ).fetchall()
    found = []
    for table, id_column, place in (
        ("mirror.marketo_people", "person_id", 0),
        ("mirror.dynamics_contacts", "contactid", 1),
        ("mirror.dynamics_leads", "leadid", 1),
    ):
        offered = connection.table(table).columns
        found.append((table, id_column, sorted({row[place] for row in rows} & set(offered))))
    return found


def _values(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> tuple[list[str], list[str]]:
    """The texts of the person that stand nowhere with anybody else, as a part neither; and all their e-mail addresses.

    `names`: as `Person.names`. A search for a text that others have as well, or that is a word of the sync's own, proves nothing.
    """
    person_ids = [int(name.partition(":")[2]) for name in names if ":" in name]
    record_ids = [name for name in names if ":" not in name]
    texts = set()
    for table, id_column, columns in _sources(connection):
        ids: list[int] | list[str] = person_ids if id_column == "person_id" else record_ids
        for name in map(quoted, columns):
            query = f"select distinct {name} from {table} where list_contains($1, {id_column}) and len({name}) >= {SHORTEST}"
            texts |= {row[0] for row in connection.execute(query, [ids]).fetchall()}
    connection.execute("create or replace temp table theirs as select unnest(?::varchar[]) as id", [list(names)])
    own = {text for text in texts if "@" in text}
    for rows in rows_of_others(connection, "theirs"):
        texts -= set(_held(connection, rows, texts))
    return sorted(texts), sorted(own)


def _held(connection: duckdb.DuckDBPyConnection, rows: str, texts: Collection[str]) -> list[str]:
    """Those of the texts that any of these rows holds, in any case of letters."""
    query = (
        "select distinct unnest(list_filter($1::varchar[], lambda wanted: contains(text, lower(wanted)))) "
        f"from (select lower(concat_ws(chr(1), *columns(*))) as text from {rows})"
    )
    return [row[0] for row in connection.execute(query, [sorted(texts)]).fetchall()] if texts else []
