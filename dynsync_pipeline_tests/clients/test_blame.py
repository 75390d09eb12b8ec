"""Which field a system refuses is found where its answer names none, in few calls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dynsync_pipeline.clients.blame import told_of_field
from dynsync_pipeline.errors import ColumnUnknown, RequestRefused

NAMES = [f"f{number}" for number in range(40)]


class System:
    """A system that refuses these fields, or everything, and may say which."""

    def __init__(self, *refused: str, is_closed: bool = False) -> None:
        self.refused = refused
        self.is_closed = is_closed
        self.n_calls = 0

    def ask_for(self, names: Sequence[str]) -> None:
        self.n_calls += 1
        if self.is_closed or set(names) & set(self.refused):
            raise self.error()

    def error(self, field: str | None = None) -> RequestRefused:
        return RequestRefused("1003", system="marketo", request="GET x", code="1003", field=field)


@pytest.mark.parametrize("refused", [["f0"], ["f39"], ["f17"], ["f0", "f1"], ["f0", "f39"], ["f5", "f6", "f30"]])
def test_the_field_at_fault_is_found_in_a_dozen_calls(refused: list[str]) -> None:
    system = System(*refused)
    found = told_of_field(system.error(), NAMES, system.ask_for)
    assert isinstance(found, ColumnUnknown)
    assert found.field in refused
    assert system.n_calls <= 12


def test_a_field_that_is_named_costs_no_call() -> None:
    system = System("f3")
    found = told_of_field(system.error("f3"), NAMES, system.ask_for)
    assert (type(found), found.field, system.n_calls) == (ColumnUnknown, "f3", 0)


@pytest.mark.parametrize("names", [NAMES, ["f0"], []])
def test_where_fewer_fields_do_not_help_no_field_is_at_fault(names: list[str]) -> None:
    system = System(is_closed=True)
    error = system.error("filterValues")
    assert told_of_field(error, names, system.ask_for) is error
    assert System().n_calls <= 12
