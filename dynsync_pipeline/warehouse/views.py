"""Views and macros that are written out by the field map.

The three `state.*_values` views show base, Dynamics and Marketo of every link in one shape (`person_id`, `record_type`,
`dynamics_id`, one column per Marketo field) and in one spelling, so that reconcile compares them with static SQL.
The macros `…_of(links)` show the same of a few links, whose table or CTE they are told by name, without reading the others.
Not here: making them (`follow_map.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from dynsync_pipeline.model.field_map import OF_OPTIONS, Field, FieldMap, FieldType
from dynsync_pipeline.model.own_fields import KEYLESS
from dynsync_pipeline.model.records import FILTER_COLUMN, PERSON_TYPES, TABLES, RecordType, Table
from dynsync_pipeline.warehouse.columns import Places, quoted
from dynsync_pipeline.warehouse.rows_of import rows_of

# A map without a field of some kind leaves a view without a value to turn long; a null has no row.
_NOTHING = 'null::varchar as "(nothing)"'

# Contacts and leads as one, with what the rules ask of every record: `parent_id` is a contact's account or contact. One that lost
# a merge is gone to every rule, like one that was deleted (R99).
_PERSON_RECORDS = """
select
    'contact' as record_type, contactid as dynamics_id, etag, is_deleted or coalesce(merged = 'true', false) as is_deleted,
    createdon, modifiedon, lower(_parentcustomerid_value) as parent_id
from {contacts}
union all
select 'lead', leadid, etag, is_deleted or coalesce(merged = 'true', false), createdon, modifiedon, null
from {leads}
"""

# Records that lost a merge, each with the one that it was merged into (R98), which may have lost one itself.
_MERGED_RECORDS = """
select 'contact' as record_type, contactid as dynamics_id, lower(_masterid_value) as master_id
from mirror.dynamics_contacts
where merged = 'true' and _masterid_value is not null
union all
select 'lead', leadid, lower(_masterid_value)
from mirror.dynamics_leads
where merged = 'true' and _masterid_value is not null
"""

# Leads and the contacts that they became: the one that was made of the lead, or the one that it was qualified onto (R95, R97).
# Either may be gone.
_CONVERSIONS = """
select lower(_originatingleadid_value) as lead_id, contactid as contact_id
from mirror.dynamics_contacts
where _originatingleadid_value is not null
union all
select leadid, lower(_parentcontactid_value)
from mirror.dynamics_leads
where statecode = '1' and _parentcontactid_value is not null
"""


def _filters(fields: FieldMap, sources: Sources) -> str:
    """What the filter says of each record, as read: true, false, or null where it is empty or there is none (R87)."""
    said = {kind: FILTER_COLUMN if (kind, FILTER_COLUMN) in fields.offered else "null::varchar" for kind in TABLES}
    return "\nunion all\n".join(
        f"select '{record_type}' as record_type, {table.id_column} as dynamics_id, is_deleted, "
        f"{said[record_type]} as sync_filter from {sources[table.mirror]}"
        for record_type, table in TABLES.items()
    )


Sources = Mapping[str, str]  # where the rows of a table are taken from, by its name
_LINKS, _BASE, _PEOPLE = "state.links", "state.base", "mirror.marketo_people"
_WHOLE: Sources = {name: name for name in (_LINKS, _BASE, _PEOPLE, *(table.mirror for table in TABLES.values()))}
# Of a few links what each table holds of them, in the words of a macro over `links`.
_KEYS = {_BASE: "person_id", _PEOPLE: "person_id", **{table.mirror: table.id_column for table in TABLES.values()}}
_FETCHED: Sources = {_LINKS: "query_table(links)", **{name: f"of_{name.split('.')[1]}" for name in _KEYS}}


def _fetching(*tables: str) -> str:
    """Before a select over `_FETCHED`: fetch the rows of these tables. Materialized, or DuckDB would join before it fetches."""
    fetched = (rows_of(table, _KEYS[table], _keys_of_links(table)) for table in tables)
    rows = (f"{_FETCHED[table]} as materialized ({rows})" for table, rows in zip(tables, fetched, strict=True))
    return f"with {', '.join(rows)}\n"


def _keys_of_links(table: str) -> str:
    """What to look for in a table: of a record only where it is of that table's type."""
    if _KEYS[table] == "person_id":
        return "select person_id from query_table(links)"
    (record_type,) = (name for name, each in TABLES.items() if each.mirror == table)
    return f"select dynamics_id from query_table(links) where record_type = '{record_type}'"


def views_of(fields: FieldMap, places: Places) -> dict[str, str]:
    """What each view selects, by name, in the order they are made."""
    views = {
        "mirror.person_records": _person_records(_WHOLE),
        "mirror.conversions": _CONVERSIONS,
        "mirror.merged_records": _MERGED_RECORDS,
        "mirror.sync_filters": _filters(fields, _WHOLE),
    }
    for name, select in _SIDES.items():
        halves = _halves(select, fields, places, _WHOLE)
        views[f"state.{name}"] = f"{_with_labels('with', halves)}select *, {_NOTHING} from ({halves})"
    views["state.dynamics_values"] = (
        "select l.person_id, r.* from state.links l join state.dynamics_records r using (record_type, dynamics_id)"
    )
    views["state.account_values"] = _account_select(fields, places)
    views["state.company_values"] = _company_select(fields, places)
    return views


def macros_of(fields: FieldMap, places: Places) -> dict[str, str]:
    """What each macro `name(links)` selects: the rows that the view of that name has of these links."""
    records = tuple(TABLES[record_type].mirror for record_type in PERSON_TYPES)
    tables = {"base_values": (_BASE,), "dynamics_records": records, "marketo_values": (_PEOPLE,)}
    macros = {
        "links_of": _fetched_links("person_id"),
        "links_to": _fetched_links("dynamics_id"),
        "person_records_of": _fetching(*records) + _person_records(_FETCHED),
        "sync_filters_of": _fetching(*(table.mirror for table in TABLES.values())) + _filters(fields, _FETCHED),
        "marketo_people_of": f"{_fetching(_PEOPLE)}from {_FETCHED[_PEOPLE]}",
    }
    for name, select in _SIDES.items():
        halves = _halves(select, fields, places, _FETCHED)
        before = _fetching(*tables[name]).rstrip() + _with_labels(",", halves)
        macros[f"{name}_of"] = f"{before}\nselect *, {_NOTHING} from ({halves})"
    macros["met_values_of"] = _met_values(fields.linked_fields, macros)
    return macros


def _met_values(names: Collection[str], macros: Mapping[str, str]) -> str:
    """Of each link the values that both sides hold, null where they differ, and the names of those that do."""
    values = "".join(
        f", case when d.{quoted(name)} is not distinct from m.{quoted(name)} then d.{quoted(name)} end as {quoted(name)}"
        for name in names
    )
    unequal = ", ".join(f"case when d.{quoted(n)} is distinct from m.{quoted(n)} then '{n}' end" for n in names)
    return (
        f'select l.person_id, list_filter([{unequal}]::varchar[], lambda name: name is not null) as "(unequal)"{values}\n'
        f"from query_table(links) l\njoin ({macros['dynamics_records_of']}) d using (record_type, dynamics_id)\n"
        f"join ({macros['marketo_values_of']}) m on m.person_id = l.person_id"
    )


# The three sides of a few links, where base and both systems are tables of this shape, as in the Parquet files.
SIDES_OF_LINKS = {
    "base_values_of": "select * from state.base_values where person_id in (select person_id from query_table(links))",
    "dynamics_records_of": "select r.* from state.dynamics_records r join query_table(links) l "
    "on l.record_type = r.record_type and l.dynamics_id = r.dynamics_id",
    "marketo_values_of": "select * from state.marketo_values where person_id in (select person_id from query_table(links))",
}


def _fetched_links(key: str) -> str:
    rows = rows_of(_LINKS, key, f"select {key} from query_table(links)", "person_id, record_type, dynamics_id")
    return f"with fetched as materialized ({rows})\nfrom fetched"


def _person_records(sources: Sources) -> str:
    contacts, leads = (sources[TABLES[RecordType(name)].mirror] for name in ("contact", "lead"))
    return _PERSON_RECORDS.format(contacts=contacts, leads=leads)


def _halves(select: _Select, fields: FieldMap, places: Places, sources: Sources) -> str:
    return "\nunion all by name\n".join(
        select(fields, TABLES[record_type], places, sources) for record_type in PERSON_TYPES
    )


def _with_labels(word: str, halves: str) -> str:
    """Of each choice a column looks its labels up; planned once for all of them."""
    is_needed = "join labels" in halves
    return f"{word} labels as materialized (from state.options_by_label)\n" if is_needed else ""


def moved_base(names: Iterable[str]) -> str:
    """What base holds in the columns `names` after the moves, of those who have moves."""
    moved = "".join(
        f", case when bool_or(v.field = '{name}') then max(v.value) filter (where v.field = '{name}') "
        f"else any_value(b.{quoted(name)}) end as {quoted(name)}"
        for name in names
    )
    held = rows_of(_BASE, "person_id", "select person_id from state.base_moves")
    return (
        f"with held as materialized ({held}) "
        f"select b.person_id{moved} from held b join state.base_moves v on v.person_id = b.person_id group by b.person_id"
    )


def side_by_side_query(names: Collection[str]) -> str:
    """Of `people`, the name of a table, every field that has a value on any side, from the tables that `differing_fields` makes.

    Written out field by field: nothing is sorted or gathered, so that a first load needs no memory for it.
    """

    def values(of: str) -> str:
        return f"[{', '.join(f'{of}.{quoted(name)}' for name in names)}]::varchar[]"

    fields = ", ".join(f"'{name}'" for name in names)
    return (
        f"from (select p.person_id, unnest([{fields}]::varchar[]) as field, "
        f"unnest({values('b')}) as base_value, unnest({values('d')}) as dynamics_value, "
        f"unnest({values('m')}) as marketo_value "
        "from query_table(people) p left join base_side b using (person_id) left join dynamics_side d using (person_id) "
        "left join marketo_side m using (person_id)) "
        "where coalesce(base_value, dynamics_value, marketo_value) is not null"
    )


def _compared(expression: str, field: Field, places: Places) -> str:
    """Null and false are one value for booleans, because Marketo reads a null back as false; a decimal has the places of its
    column in Dynamics, whatever else Marketo holds of it (R45).
    """
    n_places = places.get((field.record_type, field.dynamics_column))
    if field.type is FieldType.DECIMAL and n_places is not None:
        return f"rounded({expression}, {n_places})"
    return f"coalesce({expression}, 'false')" if field.type is FieldType.BOOLEAN else expression


def _select(table: Table, columns: list[str], joins: str, sources: Sources) -> str:
    values = "".join(f", {column}" for column in columns)
    return (
        f"select l.person_id, l.record_type, l.dynamics_id{values} from {sources[_LINKS]} l {joins} "
        f"where l.record_type = '{table.record_type}'"
    )


def _base_select(fields: FieldMap, table: Table, places: Places, sources: Sources) -> str:
    columns = [
        f"{_compared('b.' + quoted(f.marketo_field), f, places)} as {quoted(f.marketo_field)}"
        for f in fields.of(table.record_type)
    ]
    return _select(table, columns, f"join {sources[_BASE]} b on b.person_id = l.person_id", sources)


def _dynamics_select(fields: FieldMap, table: Table, places: Places, sources: Sources) -> str:
    values = "".join(
        f", {_compared('d.' + quoted(f.dynamics_column), f, places)} as {quoted(f.marketo_field)}"
        for f in fields.of(table.record_type)
    )
    source = sources[table.mirror]
    return f"select '{table.record_type}' as record_type, d.{table.id_column} as dynamics_id{values} from {source} d"


def _marketo_select(fields: FieldMap, table: Table, places: Places, sources: Sources) -> str:
    mapped = fields.of(table.record_type)
    columns = [
        f"{_marketo_value(fields, f, number, places)} as {quoted(f.marketo_field)}" for number, f in enumerate(mapped)
    ]
    joins = f"join {sources[_PEOPLE]} m on m.person_id = l.person_id"
    if any(fields.is_on_company(field) for field in mapped):
        joins += (
            f" left join mirror.marketo_companies k on k.external_company_id = '{table.record_type}:' || l.dynamics_id"
            # Until the person stands behind that one, what it shows of the one without a key counts.
            " left join mirror.marketo_companies u on u.external_company_id = "
            f"case when m.external_company_id is null then '{KEYLESS}' || l.person_id end"
        )
    for number, field in enumerate(mapped):
        if field.type is FieldType.CHOICE:
            joins += (
                f" left join labels o{number} on o{number}.record_type = l.record_type"
                f" and o{number}.dynamics_column = '{field.dynamics_column}'"
                f" and o{number}.label = {_marketo_column(fields, field)}"
            )
        elif field.type is FieldType.CHOICES:
            joins += _join_options(field, number)
        if field.type in OF_OPTIONS:
            joins += (
                f" left join state.old_labels x{number} on x{number}.person_id = l.person_id"
                f" and x{number}.record_type = l.record_type and x{number}.field = '{field.marketo_field}'"
                f" and x{number}.label = {_marketo_column(fields, field)}"
            )
    return _select(table, columns, joins, sources)


_Select = Callable[[FieldMap, Table, Places, Sources], str]
_SIDES: dict[str, _Select] = {
    "base_values": _base_select,
    "dynamics_records": _dynamics_select,
    "marketo_values": _marketo_select,
}


def _marketo_column(fields: FieldMap, field: Field) -> str:
    name = quoted(field.marketo_field)
    return f"coalesce(u.{name}, k.{name})" if fields.is_on_company(field) else f"m.{name}"


def _account_select(fields: FieldMap, places: Places) -> str:
    """Accounts in the words of Marketo: one column per company field, options as their labels (R33)."""
    table = TABLES[RecordType.ACCOUNT]
    values, joins = "", ""
    for number, field in enumerate(fields.of(RecordType.ACCOUNT)):
        value = _compared(f"d.{quoted(field.dynamics_column)}", field, places)
        if field.type in OF_OPTIONS:
            joins += _join_options(field, number)
            value = f"shown_options({value}, '{field.type}', o{number})"
        values += f", {value} as {quoted(field.marketo_field)}"
    return f"select d.{table.id_column} as account_id{values}, {_NOTHING} from {table.mirror} d{joins}"


def _company_select(fields: FieldMap, places: Places) -> str:
    values, joins = "", ""
    for number, field in enumerate(fields.of(RecordType.ACCOUNT)):
        value = _compared(f"k.{quoted(field.marketo_field)}", field, places)
        if field.type is FieldType.CHOICES:
            joins += _join_options(field, number)
            value = f"labels_in_order({value}, o{number})"
        values += f", {value} as {quoted(field.marketo_field)}"
    return f"select k.external_company_id{values}, {_NOTHING} from mirror.marketo_companies k{joins}"


def _join_options(field: Field, number: int) -> str:
    """A join of what is known of the options of this column, as `o{number}`."""
    return (
        f" left join state.option_maps o{number} on o{number}.record_type = '{field.record_type}'"
        f" and o{number}.dynamics_column = '{field.dynamics_column}'"
    )


def _marketo_value(fields: FieldMap, field: Field, number: int, places: Places) -> str:
    """Choices are compared on the option's number (R33), the one that the label meant when it landed; a label that Dynamics
    does not know keeps its text after a `?`.
    """
    value = _marketo_column(fields, field)
    if field.type is FieldType.CHOICE:
        return f"coalesce(x{number}.option_value, o{number}.option_value, '?' || {value})"
    if field.type is FieldType.CHOICES:
        return f"coalesce(x{number}.option_value, compared_options({value}, 'choices', o{number}))"
    return _compared(value, field, places)
