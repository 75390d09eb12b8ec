"""How much an answer tells about itself: `odata.metadata` and `IEEE754Compatible` in the header Accept.

The service speaks JSON alone, whatever else a client says it accepts.
Source: docs/protocols/dataverse.md#headers; OData JSON Format 4.0, 3.1 and 3.2.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.schema import EDM_TYPES, Table

KEPT = ("@odata.nextLink", "@odata.deltaLink", "@odata.count")
TOLD_TYPES = ("Edm.Guid", "Edm.Int64", "Edm.Decimal", "Edm.DateTimeOffset", "Edm.Date")
"""Types that JSON has no form of its own for."""
LONG_NUMBERS = ("Edm.Int64", "Edm.Decimal")
_METADATA = re.compile(r"odata\.metadata\s*=\s*(none|minimal|full)", re.IGNORECASE)
_LONG = re.compile(r"IEEE754Compatible\s*=\s*true", re.IGNORECASE)
_SET = re.compile(r"\$metadata#(\w+)")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def shaped(call: Call, answer: Answer) -> Answer:
    """An answer in the form that the request accepts; unchanged where that is the usual one, or no JSON."""
    accepted = call.headers.get("accept", "")
    asked = _METADATA.search(accepted)
    metadata = asked[1].lower() if asked else "minimal"
    long_as_text = bool(_LONG.search(accepted))
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    if not is_json or answer.status >= 400 or (metadata == "minimal" and not long_as_text):
        return answer
    body = _DECODER.decode(answer.body)
    found = _SET.search(body.get("@odata.context", ""))
    table = call.schema.by_set.get(found[1]) if found else None
    rows = body["value"] if isinstance(body.get("value"), list) else [body]
    if table:
        for row in rows:
            if isinstance(row, dict) and "reason" not in row:
                _tell(call, table, row, is_full=metadata == "full", long_as_text=long_as_text)
    content_type = f"application/json; odata.metadata={metadata}"
    answer.headers["Content-Type"] = f"{content_type}; IEEE754Compatible=true" if long_as_text else content_type
    answer.body = _ENCODER.encode(_bare(body) if metadata == "none" else body)
    return answer


def _tell(call: Call, table: Table, row: dict[str, Any], *, is_full: bool, long_as_text: bool) -> None:
    """Add to a row what it is and where it is, and spell its long numbers as asked; rows within it alike."""
    for name, value in list(row.items()):
        column = table.by_wire_name.get(name)
        edm_type = EDM_TYPES[column.kind] if column else ""
        if long_as_text and edm_type in LONG_NUMBERS and value is not None:
            row[name] = str(value)
        if is_full and edm_type in TOLD_TYPES and value is not None:
            row[f"{name}@odata.type"] = edm_type.replace("Edm.", "#")
    row_id = row.get(table.key_property)
    if is_full and row_id:
        address = f"{table.entity_set}({row_id})"
        row.update({
            "@odata.type": f"#Microsoft.Dynamics.CRM.{table.name}",
            "@odata.id": f"{call.root}{address}",
            "@odata.editLink": address,
        })  # fmt: skip
    collections = call.schema.collections(table.name)
    for name, value in list(row.items()):
        if name in table.navigations and isinstance(value, dict):
            far = call.schema.tables[table.navigations[name][1].table]
            _tell(call, far, value, is_full=is_full, long_as_text=long_as_text)
        elif name in collections and isinstance(value, list):
            for inner in value:
                _tell(call, collections[name][0], inner, is_full=is_full, long_as_text=long_as_text)


def _bare(value: Any) -> Any:
    """JSON without what OData tells about it, links and counts excepted."""
    if isinstance(value, list):
        return [_bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _bare(one) for name, one in value.items() if "@odata." not in name or name.endswith(KEPT)}
