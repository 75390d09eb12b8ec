"""A statement of a rule file that is left out, because what it draws from is empty, would have done nothing."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from dynsync_pipeline import sql_files, sql_sources
from dynsync_pipeline.errors import ApiError, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import deep
from dynsync_pipeline_tests.worlds.memory import MemoryWorld
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.rows import Values, refuse_nothing

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD


def play(world: MemoryWorld) -> None:
    """Cycles with little to do, each of another kind, between cycles with nothing to do."""

    def settle() -> None:
        for _ in range(2):
            world.cycle()

    def refuse(key: str, values: Values) -> ApiError | None:
        return RequestRefused("no", system="either", request="write", code="refused")

    people = {name: world.link(CONTACT if name < "e" else LEAD, name, title="A", phone="1") for name in "abcdefgh"}
    world.dynamics.put(ACCOUNT, "big", name="Big")
    settle()
    world.dynamics.put(CONTACT, "a", jobtitle="B", _parentcustomerid_value="big")
    settle()
    world.dynamics.put(ACCOUNT, "big", name="Bigger")
    settle()
    world.dynamics.put(CONTACT, "b", jobtitle="B")
    world.marketo.put(people["b"], title="M")
    settle()
    world.marketo.put(people["e"], title="M", phone=None)
    settle()
    world.dynamics.refuses = world.marketo.refuses = refuse
    world.dynamics.put(CONTACT, "c", jobtitle="B")
    world.marketo.put(people["f"], title="M", rating="no such option")
    settle()
    world.dynamics.refuses = world.marketo.refuses = refuse_nothing
    world.clock += timedelta(days=2)
    settle()
    world.dynamics.put(LEAD, "new", jobtitle="N")
    settle()
    world.dynamics.delete(LEAD, "f")
    settle()
    world.marketo.delete(people["g"])
    settle()
    world.dynamics.put(LEAD, "g", jobtitle="B")
    settle()
    world.marketo.merge(people["h"], people["d"])
    settle()
    world.marketo.put(people["c"], **{KEYS.contact_id: None})
    settle()
    world.dynamics.put(CONTACT, "b", jobtitle="C")
    world.cycle(cut_after=40)
    settle()


class Watch(logging.Handler):
    """Has every statement run, and keeps what was said of each beside the rows that it made or changed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.left_out: list[str] = []
        self.wrongly: list[str] = []
        self.did_something: set[str] = set()
        self._may_do = True

    def may_draw(self, sources: sql_sources.Sources, has_rows: sql_sources.HasRows) -> bool:
        """In the place of `sql_files.may_draw`."""
        self._may_do = sql_sources.may_draw(sources, has_rows)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """A statement ran."""
        assert isinstance(record.args, tuple)
        path, number, _, n_rows, _ = record.args
        statement = f"{path}, statement {number}"
        if not self._may_do:
            self.left_out.append(statement)
            self.wrongly += [statement] if n_rows != "0" else []
        elif n_rows != "0":
            self.did_something.add(statement)


@deep
def test_what_is_left_out_would_have_done_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    log = logging.getLogger("dynsync_pipeline.sql_files")
    log.addHandler(watch)
    log.setLevel(logging.DEBUG)
    monkeypatch.setattr(sql_files, "may_draw", watch.may_draw)
    try:
        play(MemoryWorld())
    finally:
        log.setLevel(logging.NOTSET)
        log.removeHandler(watch)
    assert watch.wrongly == []
    assert len(watch.left_out) > 2500, "which is most of them"
    assert len(watch.did_something) > 75, "and the play has every rule at work"
