"""How a canonical value stands in a request: as the kind of JSON that its type is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynsync_pipeline_tests.worlds.cuts import SmallWarehouse


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        ("true", "boolean", "true"),
        ("false", "boolean", "false"),
        ("7", "integer", "7"),
        ("-1.50", "decimal", "-1.50"),
        ("XL", "integer", '"XL"'),
        ("7", "text", '"7"'),
        ("true", "text", '"true"'),
        ('O\'Brien "x"', "text", '"O\'Brien \\"x\\""'),
        ("2026-01-31", "date", '"2026-01-31"'),
        (None, "boolean", "null"),
        (None, "text", "null"),
    ],
)
def test_a_value_is_written_as_the_json_of_its_type(value: str | None, kind: str, written: str) -> None:
    with SmallWarehouse(Path(":memory:")) as warehouse, warehouse.reading() as connection:
        assert connection.execute("select json_text(?::varchar, ?)", [value, kind]).fetchall() == [(written,)]
