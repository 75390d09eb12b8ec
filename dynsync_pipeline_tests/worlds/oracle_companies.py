"""Company fields of every type in a world in memory, as an account has them and, both ways, a lead (R51, R131).

Not here: what must become of them (`oracles/`), fields of people (`every_type.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from dynsync_pipeline.model.field_map import FieldMap, parse_field_map
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline_tests.oracles.three_way_merge import Rule, compared
from dynsync_pipeline_tests.worlds.every_type import column_of, in_marketo, line_of, numbers_of
from dynsync_pipeline_tests.worlds.memory import WITH_COLLISION
from dynsync_pipeline_tests.worlds.memory_marketo import MemoryMarketo
from dynsync_pipeline_tests.worlds.rows import Values

OF_COMPANIES = {
    "company": Rule("text"),
    "listed": Rule("boolean"),
    "employees": Rule("integer"),
    "turnover": Rule("decimal"),
    "founded": Rule("date"),
    "audited": Rule("datetime"),
    "industry": Rule("choice"),
    "markets": Rule("choices"),
}


def map_with_companies(rules: Mapping[str, Rule], of_leads: Mapping[str, Rule] = OF_COMPANIES) -> FieldMap:
    """Contacts and leads have the fields of `rules` alike, accounts those of companies, and leads `of_leads` for them."""
    lines = [f"{kind},{line_of(name, rule)}\n" for kind in ("contact", "lead") for name, rule in rules.items()]
    lines += [f"lead,{line_of(name, rule)}\n" for name, rule in of_leads.items()]
    lines += [f"account,{line_of(name, Rule(rule.type, 'to_marketo'))}\n" for name, rule in OF_COMPANIES.items()]
    return parse_field_map(WITH_COLLISION + "".join(lines), "test.csv")


def edit_company(marketo: MemoryMarketo, person_id: int, **values: str | None) -> None:
    """Somebody edits company fields on a person: they are those of the company behind it (R62)."""
    key = marketo.rows[person_id].values.get(COMPANY_KEY)
    shown = {name: in_marketo(value, OF_COMPANIES[name].type) for name, value in values.items()}
    if key:
        marketo.put_company(key, **shown)
    else:
        marketo.put(person_id, **shown)


def company_on(marketo: MemoryMarketo, person_id: int) -> Values:
    """What a person shows of the company behind it, as it compares."""
    (row,) = marketo.people("id", [str(person_id)], list(OF_COMPANIES)).to_pylist()
    return compared_company(row)


def company_of(marketo: MemoryMarketo, key: str) -> Values | None:
    """What the company with this key holds, as it compares; None where there is none."""
    row = marketo.company_rows.get(key)
    return None if row is None else compared_company(row)


def compared_company(row: Mapping[str, str | None]) -> Values:
    """A row of Marketo, or of the ledger, which shows labels, as it compares."""
    return {name: told(row.get(name), rule.type) for name, rule in OF_COMPANIES.items()}


def compared_account(row: Mapping[str, str | None]) -> Values:
    """An account, or the company text of a lead, as it compares."""
    return {name: compared(row.get(column_of(name)), rule.type) for name, rule in OF_COMPANIES.items()}


def told(value: str | None, kind: str) -> str | None:
    """A value with labels as it compares."""
    return compared(numbers_of(value, kind), kind)


def is_text(value: str | None, name: str) -> bool:
    """Whether a value is company text at all: a checkbox that nobody ever set is none (R42)."""
    return value is not None and not (OF_COMPANIES[name].type == "boolean" and value == "false")
