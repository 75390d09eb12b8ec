"""Commands that must not hurt: nobody's files are removed, nothing is left open to others, no other sync is started."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynsync_pipeline_tests.worlds.http import DYNSYNC, HttpWorld, let_pass
from dynsync_pipeline_tests.worlds.processes import command

FAILED, SETTINGS, INTERRUPTED = 1, 2, 130
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """A world after its first load, made where files are open to everybody by default."""
    before = os.umask(0o022)
    try:
        with HttpWorld(tmp_path_factory.mktemp("world")) as world:
            world.create_record("contact", lastname="O'Brien")
            world.sync()
            yield world
    finally:
        os.umask(before)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of this machine that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def said(ended: subprocess.CompletedProcess[str]) -> str:
    """What a command told on stderr, on one line, without a traceback."""
    assert "Traceback" not in ended.stdout + ended.stderr
    return " ".join(ended.stderr.split())


def test_a_demo_touches_no_folder_that_holds_something_else(tmp_path: Path) -> None:
    thesis = tmp_path / "papers" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    ended = command(("demo", "--data", "papers"), ENVIRONMENT, tmp_path)
    assert ended.returncode == SETTINGS
    assert "Nothing was touched" in said(ended)
    assert thesis.read_text() == "years of work"
    assert list(thesis.parent.iterdir()) == [thesis]


def test_a_demo_replaces_no_file_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("kept")
    ended = command(("demo", "--data", "notes"), ENVIRONMENT, tmp_path)
    assert ended.returncode == SETTINGS
    assert (tmp_path / "notes").read_text() == "kept"


def test_a_ui_on_a_taken_port_starts_nothing(tmp_path: Path, taken_port: int) -> None:
    ended = command(("dev", "--port", str(taken_port)), ENVIRONMENT, tmp_path)
    assert ended.returncode == FAILED
    assert f"127.0.0.1:{taken_port}" in said(ended)
    assert "--port" in said(ended)
    assert "http://" not in ended.stdout, "the address of somebody else's UI"
    assert not (tmp_path / "data").exists(), "neither emulators nor a home for Dagster"


@pytest.mark.parametrize("option", ["--dataverse-port", "--marketo-port"])
def test_emulators_on_a_taken_port_are_a_sentence_that_names_it(tmp_path: Path, taken_port: int, option: str) -> None:
    ended = command(("emulate", "--empty", option, str(taken_port)), ENVIRONMENT, tmp_path)
    assert ended.returncode == FAILED
    assert f"127.0.0.1:{taken_port}" in said(ended)


@pytest.mark.parametrize(
    "arguments", [("emulate", "--marketo-port", "99999"), ("dev", "--port", "0"), ("dev", "--port", "65536")]
)
def test_a_port_that_cannot_be_is_a_wrong_option(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = command(arguments, ENVIRONMENT, tmp_path)
    assert ended.returncode == SETTINGS
    assert arguments[1] in said(ended)


def test_only_the_snapshot_is_open_to_other_users_of_the_machine(world: HttpWorld) -> None:
    folders = [world.data_dir, world.emulators.state_dir]
    open_to_others = {
        file.name for folder in folders for file in folder.rglob("*") if file.is_file() and file.stat().st_mode & 0o077
    }
    # The lock tells when a cycle ran, and of nobody.
    assert open_to_others - {"cycle.lock"} == {"snapshot.duckdb"}
    assert stat.S_IMODE((world.data_dir / "snapshot.duckdb").stat().st_mode) == 0o444
    assert stat.S_IMODE(world.emulators.state_dir.stat().st_mode) == 0o700


def test_a_cycle_removes_the_personal_data_that_killed_commands_left(world: HttpWorld) -> None:
    left = [world.data_dir / name / "people.csv" for name in ("export-a1b2", "plan-c3d4")]
    for file in left:
        file.parent.mkdir()
        file.write_text("id,email\n")
    world.sync()
    assert [file.parent.exists() for file in left] == [False, False]


def test_a_damaged_working_file_is_named_with_what_to_do(world: HttpWorld, tmp_path: Path) -> None:
    file = tmp_path / "dynsync.duckdb"
    whole = bytearray((world.data_dir / "dynsync.duckdb").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4096 * 64] = b"\x5a" * min(4096 * 64, len(whole) - middle)
    whole[4096 : 4096 + 64] = b"\x5a" * 64
    file.write_bytes(whole)
    ended = world.dynsync("sync", DYNSYNC_DATA_DIR=str(tmp_path))
    assert ended.returncode == FAILED
    assert "damaged" in said(ended)
    assert "backup" in said(ended)


def test_a_file_that_is_no_database_is_named_with_what_to_do(world: HttpWorld, tmp_path: Path) -> None:
    (tmp_path / "dynsync.duckdb").write_bytes(b"this is none" * 1000)
    ended = world.dynsync("sync", DYNSYNC_DATA_DIR=str(tmp_path))
    assert ended.returncode == FAILED
    assert "backup" in said(ended)


def test_a_company_proxy_is_not_asked_for_this_machine(world: HttpWorld) -> None:
    """Nobody listens on port 9 of this machine."""
    ended = world.dynsync("sync", HTTPS_PROXY="http://127.0.0.1:9", DYNSYNC_RETRY_LIMIT_S="0")
    assert ended.returncode == 0, said(ended)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "foo://bar baz", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_a_sentence_about_the_variable(world: HttpWorld, proxy: str) -> None:
    ended = world.dynsync("sync", HTTPS_PROXY=proxy)
    assert ended.returncode == SETTINGS, said(ended)
    assert "HTTPS_PROXY" in said(ended)


def test_a_misspelled_setting_is_told_with_the_one_that_was_meant(world: HttpWorld) -> None:
    ended = world.dynsync("status", DYNSYNC_MARKETO_CALL_PER_DAY="5")
    assert "DYNSYNC_MARKETO_CALL_PER_DAY is no setting" in said(ended)
    assert "DYNSYNC_MARKETO_CALLS_PER_DAY" in said(ended)


def test_no_plan_copies_a_working_file_that_is_being_written(world: HttpWorld) -> None:
    """Somebody deleted the file of the cycle lock while a cycle ran."""
    writer = subprocess.Popen(
        [
            DYNSYNC.with_name("python"),
            "-c",
            "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()",
            str(world.data_dir / "dynsync.duckdb"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        ended = world.dynsync("plan")
    finally:
        writer.communicate("")
    assert ended.returncode == FAILED
    assert "open in another program" in said(ended)


def test_ctrl_c_ends_a_cycle_with_one_sentence_and_loses_nothing(world: HttpWorld) -> None:
    (record_id,) = world.query("select contactid from contacts limit 1")[0]
    world.edit_record("contact", record_id, jobtitle="while it was ended")
    under_way: list[subprocess.Popen[str]] = []

    def interrupt(request: str, is_applied: bool) -> bool:
        for process in under_way:
            process.send_signal(signal.SIGINT)
        return True

    cycle = subprocess.Popen(
        [DYNSYNC, "sync"],
        env=world.environment_with(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have made them ignore Ctrl-C, which a child inherits.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    under_way.append(cycle)
    world.marketo.on_request = interrupt
    printed, told = cycle.communicate(timeout=60)
    world.marketo.on_request = let_pass
    assert cycle.returncode == INTERRUPTED, told
    assert "Traceback" not in printed + told
    assert "Ended by Ctrl-C" in told
    world.sync()
    assert world.person(world.person_of("contact", record_id), "title")["title"] == "while it was ended"
