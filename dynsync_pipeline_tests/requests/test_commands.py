"""A command that asks for something is told if and only if it asked, once, wherever a kill falls (`operator_actions`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests import commands
from dynsync_pipeline.requests.store import RequestStore, Wish
from dynsync_pipeline.warehouse.connection import utc_now
from dynsync_pipeline.warehouse.operator_actions import Action, leave_action
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.cuts import Cut
from dynsync_pipeline_tests.worlds.processes import forked
from dynsync_pipeline_tests.worlds.requests import RequestWorld

AT = utc_now()
WISHES = [Wish(person_id, RecordType.LEAD, "push") for person_id in (1, 2)]
MOST_STATEMENTS = 30


def ask(store: RequestStore) -> None:
    store.ask(WISHES, AT, Action.of("push", {"n": 2}))


def send(store: RequestStore) -> None:
    store.carry_on([each.request_id for each in store.asking()], AT)


def drop(store: RequestStore) -> None:
    store.withdraw([each.request_id for each in store.asking()])


def kill_at_each(files: list[Path], command: Callable[[RequestStore], None]) -> None:
    """Give a command in each of these stores, in a process that is killed before its first statement, its second, and so on."""
    for n_statements, file in enumerate(files):
        if not (process := os.fork()):
            with RequestStore(file) as store:
                _die_after(store, n_statements)
                command(store)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL


def _die_after(store: RequestStore, n_statements: int) -> None:
    left = n_statements

    def strike(_: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    store._db.set_trace_callback(strike)


@story
@pytest.mark.parametrize("command", [ask, send, drop])
def test_a_command_that_is_killed_anywhere_is_told_if_and_only_if_the_store_changed(
    command: Callable[[RequestStore], None], tmp_path: Path
) -> None:
    files = [tmp_path / f"{n}.sqlite" for n in range(MOST_STATEMENTS)]
    for file in files:
        with RequestStore(file) as store:
            if command is not ask:
                store.ask(WISHES, AT)
                store.ask_first()
    process = forked(kill_at_each, files, command)
    process.start()
    process.join()
    assert process.exitcode == 0
    have_changed = []
    for file in files:
        with RequestStore(file) as store:
            states = {each.state for each in store.of_person(1)} | {each.state for each in store.of_person(2)}
            assert len(states) <= 1, "both of them, or neither"
            have_changed.append(states not in (set(), {"ask"}))
            assert len(store.actions()) == have_changed[-1]
    n_before = have_changed.index(True)
    assert n_before > 4, "a kill fell between all of its statements"
    assert all(have_changed[n_before:])


def test_who_answers_what_somebody_else_has_answered_changes_nothing_and_is_not_told(tmp_path: Path) -> None:
    with RequestStore(tmp_path / "requests.sqlite") as store:
        first, second = store.ask(WISHES, AT)
        store.ask_first()
        assert store.withdraw([first]) == 1
        assert store.carry_on([first], AT) == 0
        assert store.carry_on([first, second], AT) == 1
        assert [(each.command, each.plan) for each in store.actions()] == [
            ("requests --drop", {"requests": {"n": 1, "ids": [first]}}),
            ("requests --send", {"requests": {"n": 1, "ids": [second]}}),
        ]


def cut(*_: Any) -> None:
    raise Cut


@contextmanager
def cut_at(name: str, moment: str) -> Iterator[None]:
    """A kill before that part of taking commands in, or after it."""
    part = getattr(commands, name)

    def run(*arguments: Any) -> None:
        part(*arguments)
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, name, cut if moment == "before" else run)
        yield


@story
def test_a_command_reaches_the_ledger_once_whichever_part_of_taking_it_in_is_killed(world: RequestWorld) -> None:
    """One that was told in a file, too; they stand there in the order in which they were given."""
    with RequestStore(world.settings.requests_file) as store:
        store.ask(WISHES[:1], AT, Action.of("push", {"n": 1}))
        leave_action(world.settings.data_dir, "setup --apply", {"made": []})
        store.ask(WISHES[1:], AT, Action.of("assign", {"n": 1}))
    for name in ("_kept", "take_in_actions", "remove_taken_in", "_let_go"):
        for moment in ("before", "after"):
            with cut_at(name, moment), pytest.raises(Cut), world.opened():
                pass
    world.settled()
    told = world.rows("select command from ledger.operator_actions order by entry_id")
    assert told == [("push",), ("setup --apply",), ("assign",)]
    with RequestStore(world.settings.requests_file) as store:
        assert store.actions() == []
    assert list((world.settings.data_dir / "operator_actions").iterdir()) == []


def test_a_store_that_cannot_be_used_holds_up_no_cycle_and_loses_no_command(world: RequestWorld) -> None:
    with RequestStore(world.settings.requests_file) as store:
        ask(store)
    kept = world.settings.requests_file.read_bytes()
    world.settings.requests_file.write_bytes(b"no database" * 100)
    world.cycle()
    world.settings.requests_file.write_bytes(kept)
    world.cycle()
    assert world.rows("select command, plan from ledger.operator_actions") == [("push", '{"n": 2}')]
