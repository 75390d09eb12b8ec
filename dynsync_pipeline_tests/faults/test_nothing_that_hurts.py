"""Commands that must not hurt: nobody's files are removed, nothing is left open to others, no other sync is started."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dynsync_pipeline.cli.adoption_file import write_pairs
from dynsync_pipeline.cli.preflight import findings
from dynsync_pipeline.defs.development import prepare_home
from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline_tests.cli.conftest import Run, run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import DYNSYNC, HttpWorld, let_pass, settings_from
from dynsync_pipeline_tests.worlds.processes import command

pytestmark = story

__all__ = ["run"]  # a fixture
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


def test_a_demo_leaves_a_folder_alone_in_which_another_one_runs(tmp_path: Path) -> None:
    running = tmp_path / ".dynsync-demo"
    with running.open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        (tmp_path / "dynsync.duckdb").write_text("in use")
        ended = command(("demo", "--data", str(tmp_path)), ENVIRONMENT, tmp_path)
    assert ended.returncode == SETTINGS
    assert "Nothing was touched" in said(ended)
    assert (tmp_path / "dynsync.duckdb").read_text() == "in use"


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


def test_only_snapshot_and_status_are_open_to_other_users_of_the_machine(world: HttpWorld) -> None:
    folders = [world.data_dir, world.emulators.state_dir]
    open_to_others = {
        file.name for folder in folders for file in folder.rglob("*") if file.is_file() and file.stat().st_mode & 0o077
    }
    # The lock tells when a cycle ran, and of nobody.
    # status.html and metrics.prom hold figures and no person, and are read by browsers and collectors.
    assert open_to_others - {"cycle.lock"} == {"snapshot.duckdb", "status.json", "status.html", "metrics.prom"}
    assert stat.S_IMODE((world.data_dir / "snapshot.duckdb").stat().st_mode) == 0o444
    assert stat.S_IMODE(world.emulators.state_dir.stat().st_mode) == 0o700


def test_a_data_folder_is_its_owners_alone_whoever_makes_it(world: HttpWorld, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        found = list(
            findings(
                settings_from(world.environment | {"DYNSYNC_DATA_DIR": str(tmp_path / "a" / "data")}), load_field_map()
            )
        )
        prepare_home(settings_from({"DYNSYNC_DATA_DIR": str(tmp_path / "b" / "data")}))
        with Emulators(tmp_path / "c" / "data" / "emulator"):
            pass
        write_pairs(tmp_path / "d" / "data" / "adoption.csv", [])
    finally:
        os.umask(before)
    assert found[0].is_ok
    assert {stat.S_IMODE((tmp_path / name / "data").stat().st_mode) for name in "abcd"} == {0o700}


def test_a_cycle_removes_the_personal_data_that_killed_commands_left(world: HttpWorld) -> None:
    folders = [world.data_dir / name for name in ("export-a1b2", "plan-c3d4", "dynsync.duckdb.tmp")]
    files = [world.data_dir / name for name in ("dynsync.duckdb.new", "snapshot.duckdb.new", "dynsync.duckdb.new.wal")]
    for folder in folders:
        folder.mkdir()
        (folder / "people.csv").write_text("id,email\n")
    for file in files:
        file.write_text("id,email\n")
    world.sync()
    assert [path.name for path in (*folders, *files) if path.exists()] == []


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
    assert "IO Error" not in said(ended)


def test_a_file_that_lost_its_end_is_damaged(world: HttpWorld, tmp_path: Path) -> None:
    whole = (world.data_dir / "dynsync.duckdb").read_bytes()
    (tmp_path / "dynsync.duckdb").write_bytes(whole[: len(whole) // 2])
    ended = world.dynsync("sync", DYNSYNC_DATA_DIR=str(tmp_path))
    assert ended.returncode == FAILED
    assert "damaged" in said(ended)
    assert "backup" in said(ended)


@pytest.mark.parametrize(
    "make",
    [Path.touch, lambda file: file.write_bytes(b"this is none" * 1000), Path.mkdir, os.mkfifo],
    ids=["empty", "junk", "a folder", "a pipe"],
)
def test_a_damaged_snapshot_is_told_as_that_and_made_anew(
    tmp_path: Path, make: Callable[[Path], object], run: Run
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    make(data_dir / "snapshot.duckdb")
    ran = run("status", environment={"DYNSYNC_DATA_DIR": str(data_dir)})
    assert ran.code == FAILED
    assert "damaged" in ran.err
    assert "the next cycle makes it anew" in ran.err


def test_a_data_folder_or_a_lock_of_another_kind_is_a_sentence(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    ran = run("status", environment={"DYNSYNC_DATA_DIR": str(tmp_path / "file")})
    assert (ran.code, "Error: " in ran.err) == (FAILED, True)
    (tmp_path / "cycle.lock").mkdir()
    ran = run("status", environment={"DYNSYNC_DATA_DIR": str(tmp_path)})
    assert (ran.code, "no snapshot" in ran.err) == (FAILED, True)
    ran = run("errors", "--release", "all", environment={"DYNSYNC_DATA_DIR": str(tmp_path)})
    assert ran.code == FAILED
    assert f"{tmp_path / 'cycle.lock'} is a folder" in ran.err


@pytest.mark.parametrize("name", ["cycle.lock", "cycle.wanted"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself"])
def test_what_stands_where_a_lock_belongs_is_named(tmp_path: Path, run: Run, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    ran = run("errors", "--release", "all", environment={"DYNSYNC_DATA_DIR": str(tmp_path)})
    assert ran.code == FAILED
    assert name in ran.err
    ran = run("status", environment={"DYNSYNC_DATA_DIR": str(tmp_path)})
    assert (ran.code, "no snapshot" in ran.err) == (FAILED, True)


@pytest.mark.parametrize(
    "arguments", [("explain", "\udcff@example.com"), ("errors", "--search", "\udcff"), ("errors", "--since", "999999d")]
)
def test_an_argument_that_cannot_be_is_a_sentence_and_no_traceback(
    world: HttpWorld, run: Run, arguments: tuple[str, ...]
) -> None:
    ran = run(*arguments, environment={"DYNSYNC_DATA_DIR": str(world.data_dir)})
    assert ran.code == SETTINGS
    assert "999999d" in ran.err or "not UTF-8 text" in ran.err


def test_an_address_that_leads_to_the_other_system_is_a_sentence_about_the_setting(
    world: HttpWorld, tmp_path: Path
) -> None:
    dynamics, marketo = world.environment["DYNSYNC_DYNAMICS_URL"], world.environment["DYNSYNC_MARKETO_URL"]
    for number, changed in enumerate(
        ({"DYNAMICS": marketo, "MARKETO": dynamics}, {"MARKETO": dynamics.replace("127.0.0.1", "localhost")})
    ):
        urls = {f"DYNSYNC_{system}_URL": url for system, url in changed.items()}
        data_dir = str(tmp_path / str(number))
        ended = world.dynsync("sync", DYNSYNC_DATA_DIR=data_dir, DYNSYNC_RETRY_LIMIT_S="0", **urls)
        assert ended.returncode == FAILED
        system = "Dynamics" if "DYNAMICS" in changed else "Marketo"
        assert f"see whether DYNSYNC_{system.upper()}_URL is the address of {system}" in said(ended).replace(
            "See", "see"
        )


@pytest.mark.parametrize("name", ["dataverse.sqlite", "marketo.sqlite", "."])
def test_a_damaged_state_of_the_emulators_is_a_sentence_that_names_it(tmp_path: Path, name: str) -> None:
    state = tmp_path / "state"
    if name == ".":
        state.touch()
    else:
        state.mkdir()
        (state / name).write_bytes(b"this is none" * 1000)
    ended = command(("emulate", "--empty", "--state", str(state)), ENVIRONMENT, tmp_path)
    assert ended.returncode == FAILED
    assert str(state) in said(ended)


@pytest.mark.parametrize("largest_bytes", [5_000, 150_000])
def test_a_full_disk_is_no_damaged_state_of_the_emulators(tmp_path: Path, largest_bytes: int) -> None:
    ended = command(
        ("emulate", "--people", "0", "--state", str(tmp_path / "state")), ENVIRONMENT, tmp_path, largest_bytes
    )
    assert ended.returncode == FAILED
    assert re.search("state cannot be written: .*Free space", said(ended)), said(ended)
    assert "Remove" not in said(ended), "it is whole"


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
    assert "DYNSYNC_MARKETO_CALL_PER_DAY is not a setting" in said(ended)
    assert "DYNSYNC_MARKETO_CALLS_PER_DAY" in said(ended)


def test_neither_a_plan_nor_a_cycle_touches_what_another_one_writes(world: HttpWorld) -> None:
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
        used = world.data_dir / "export-in-use"
        used.mkdir()
        for name in ("plan", "sync"):
            ended = world.dynsync(name)
            assert ended.returncode == FAILED
            assert "open in another program" in said(ended)
            assert used.exists(), "what the other one works on"
    finally:
        writer.communicate("")


def started(world: HttpWorld, **other: str) -> subprocess.Popen[str]:
    """A cycle in a process that Ctrl-C reaches."""
    return subprocess.Popen(
        [DYNSYNC, "sync"],
        env=world.environment_with(**other),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have made them ignore Ctrl-C, which a child inherits.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def ended_by_ctrl_c(world: HttpWorld, request: str, **other: str) -> None:
    """Start a cycle and interrupt it as a request of Marketo comes; it must end soon, with one sentence."""
    under_way: list[subprocess.Popen[str]] = []

    def interrupt(told: str, is_applied: bool) -> bool:
        if request in told:
            for process in under_way:
                process.send_signal(signal.SIGINT)
            under_way.clear()
        return True

    cycle = started(world, **other)
    under_way.append(cycle)
    world.marketo.on_request = interrupt
    printed, told = cycle.communicate(timeout=240)  # a machine may be busy, and a cycle that goes on waits for an hour
    world.marketo.on_request = let_pass
    assert cycle.returncode == INTERRUPTED, told
    assert "Traceback" not in printed + told
    assert told.count("Ended by Ctrl-C") == 1


def test_ctrl_c_ends_a_cycle_with_one_sentence_and_loses_nothing(world: HttpWorld) -> None:
    (record_id,) = world.query("select contactid from contacts limit 1")[0]
    world.edit_record("contact", record_id, jobtitle="while it was ended")
    ended_by_ctrl_c(world, "")
    world.sync()
    assert world.person(world.person_of("contact", record_id), "title")["title"] == "while it was ended"


def test_ctrl_c_ends_a_first_load_though_its_exports_take_an_hour(world: HttpWorld, tmp_path: Path) -> None:
    ended_by_ctrl_c(world, "enqueue", DYNSYNC_DATA_DIR=str(tmp_path), DYNSYNC_MARKETO_POLL_S="3600")


def test_ctrl_c_is_one_sentence_also_while_the_commands_are_loaded(tmp_path: Path) -> None:
    script = """
import builtins, os, signal
from dynsync_pipeline.cli import main
load = builtins.__import__
def loading(name, *rest):
    if name == "dynsync_pipeline.cli.commands":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest)
builtins.__import__ = loading
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
    ended = subprocess.run(
        [DYNSYNC.with_name("python"), "-c", script],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (INTERRUPTED, "")
    assert ended.stderr.startswith("Ended by Ctrl-C")
    assert ended.stderr.count("\n") == 1
