"""The field map with names that are proposed by label, for a person to accept; every proposal is off (R30).

Not here: asking Marketo for its labels (`cli/check.py`), reading a map that is synced (`field_map.py`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dynsync_pipeline.model.field_map import COLUMNS, map_lines


@dataclass(frozen=True)
class ProposedMap:
    """A field map as CSV, and what is new in it, a text per line: what got a name, and what several fields would suit."""

    text: str
    named: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def propose_map(own: str, package: str, labels: Mapping[str, Sequence[str]]) -> ProposedMap:
    """The map `own` with names for its lines that are off and bear a label, then those of `package` that it lacks, off too.

    `labels`: the REST names in Marketo by what people call the fields there. A name that another line of the record type has
    is not proposed. Raises: FieldMapWrong.
    """
    lines = [values for _, values in map_lines(own, "the field map")]
    mapped = {(values["record_type"], values["dynamics_column"]) for values in lines}
    lines += [
        values | {"enabled": "false"}
        for _, values in map_lines(package, "the map of the package")
        if (values["record_type"], values["dynamics_column"]) not in mapped
    ]
    names = {_spelt(label): names for label, names in labels.items()}
    taken = {(values["record_type"], values["marketo_field"]) for values in lines}
    text = io.StringIO(newline="")
    proposed = ProposedMap("")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for values in lines:
        record_type, label = values["record_type"], values["marketo_field"]
        suiting = [name for name in names.get(_spelt(label), ()) if name.isascii() and name.isidentifier()]
        found = [name for name in suiting if (record_type, name) not in taken]
        if values["enabled"] == "false" and len(found) == 1:
            values["marketo_field"] = found[0]
            taken.add((record_type, found[0]))
            proposed.named.append(f"{record_type}: {label} → {found[0]}")
        elif values["enabled"] == "false" and found:
            proposed.ambiguous.append(f"{record_type}: {label} ({', '.join(found)})")
        rows.writerow(values[column] for column in COLUMNS)
    return ProposedMap(text.getvalue(), proposed.named, proposed.ambiguous)


def _spelt(label: str) -> str:
    """A label without what people spell differently: case, and how many blanks."""
    return " ".join(label.casefold().split())
