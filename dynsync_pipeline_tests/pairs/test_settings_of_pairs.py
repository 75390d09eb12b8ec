"""A pair's settings are its own: nothing of the process, of the installation or of another pair reaches them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.pairs import file_system, require_local, share_of_machine
from dynsync_pipeline.settings import PREFIX
from dynsync_pipeline.settings_sources import find_pairs_dir, load_installation, load_pairs, load_settings

SECRET = "s3cr3t-Value"
MakePair = Callable[..., Path]


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with a folder of pairs, and no variable but what the test gives."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DYNSYNC_PAIRS_DIR=pairs\nDYNSYNC_CYCLES_AT_ONCE=8\n")


@pytest.fixture
def make_pair(tmp_path: Path) -> MakePair:
    def make(name: str, **values: str) -> Path:
        folder = tmp_path / "pairs" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".env").write_text("".join(f"DYNSYNC_{key.upper()}={value}\n" for key, value in values.items()))
        return folder

    return make


def refused(name: str) -> str:
    with pytest.raises(SettingsWrong) as caught:
        load_settings(pair=name)
    assert caught.value.next_step
    assert name in str(caught.value)
    return str(caught.value)


def test_a_pair_has_what_its_own_file_says_and_paths_begin_at_its_folder(make_pair: MakePair) -> None:
    folder = make_pair("acme", pause_s="7", field_map="fields.csv", ca_file="/etc/ca.pem", marketo_client_secret=SECRET)
    make_pair("bolt", pause_s="9")
    settings = load_settings(pair="acme")
    assert (settings.pair, settings.pause_s, settings.ca_file) == ("acme", 7, Path("/etc/ca.pem"))
    assert (settings.data_dir, settings.field_map) == (folder / "data", folder / "fields.csv")
    assert (settings.memory_mb, settings.threads) == share_of_machine(8)
    assert load_settings(pair="bolt").marketo_client_secret is None
    assert load_installation().pairs_dir == find_pairs_dir() == Path("pairs")
    make_pair("acme", pause_s="70000")
    assert load_settings(pair="acme").pause_s == 70_000, "a changed file is read again"


def test_of_a_name_that_is_set_twice_the_last_value_counts_and_an_empty_one_sets_nothing(make_pair: MakePair) -> None:
    file = make_pair("acme", pause_s="7") / ".env"
    for lines, expected in (
        ("DYNSYNC_PAUSE_S=8\n", 8),
        ("dynsync_pause_s=6\nDYNSYNC_PAUSE_S=9\nDYNSYNC_PAUSE_S=\n", 9),
    ):
        file.write_text(file.read_text("utf-8") + lines, "utf-8")
        assert load_settings(pair="acme").pause_s == expected


def test_without_the_setting_there_is_one_pair_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("DYNSYNC_PAUSE_S=7\n")
    assert (load_settings().pause_s, load_settings().pair, find_pairs_dir()) == (7, "", None)
    assert load_settings().memory_mb is None
    monkeypatch.setenv("DYNSYNC_PAIR", "acme")
    with pytest.raises(SettingsWrong, match="names no folder of pairs"):
        load_settings()


@pytest.mark.parametrize("name", ["MARKETO_CLIENT_SECRET", "DYNAMICS_URL", "LISTEN_TOKENS", "BACKUP_HOURS"])
def test_a_setting_of_the_process_reaches_no_pair_and_is_refused(
    name: str, make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pair("acme")
    values = {"MARKETO_CLIENT_SECRET": SECRET, "LISTEN_TOKENS": SECRET, "DYNAMICS_URL": "https://a.example"}
    monkeypatch.setenv(PREFIX + name, values.get(name, "3"))
    told = refused_by_installation()
    assert PREFIX + name in told
    assert SECRET not in told


def refused_by_installation() -> str:
    with pytest.raises(SettingsWrong) as caught:
        load_settings(pair="acme")
    return str(caught.value)


def test_what_the_installation_may_set_for_itself_is_not_the_pairs(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data folder there is that of Dagster's home."""
    folder = make_pair("acme")
    monkeypatch.setenv("DYNSYNC_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("DYNSYNC_CYCLE_LIMIT_S", "77")
    settings = load_settings(pair="acme")
    assert (settings.data_dir, settings.cycle_limit_s) == (folder / "data", 21_600)


def test_a_value_that_refers_to_the_environment_is_refused(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEBODYS", SECRET)
    make_pair("acme", marketo_client_secret="${SOMEBODYS}")
    assert "DYNSYNC_MARKETO_CLIENT_SECRET in .env refers to another variable" in refused("acme")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_dir", "../bolt/data"),
        ("data_dir", "/somewhere/acme"),
        ("data_dir", "link"),
        ("field_map", "../bolt/fields.csv"),
        ("dynamics_certificate_file", "../bolt/key.pem"),
        ("backup_dir", "/backups"),
        ("backup_dir", "../bolt/acme"),
        ("pairs_dir", "pairs"),
        ("cycles_at_once", "3"),
        ("pause_s", "soon"),
    ],
)
def test_a_setting_that_leads_out_of_the_pairs_folder_or_is_none_of_a_pair_is_refused(
    setting: str, value: str, make_pair: MakePair
) -> None:
    make_pair("bolt", data_dir="data")
    folder = make_pair("acme", **{setting: value})
    (folder / "link").symlink_to("../bolt/data")
    told = refused("acme")
    assert told.startswith("Pair acme: ")
    assert PREFIX + setting.upper() in told
    load_settings(pair="bolt")


def test_backups_may_lie_elsewhere_under_the_pairs_own_name(make_pair: MakePair) -> None:
    make_pair("acme", backup_dir="/backups/acme")
    assert load_settings(pair="acme").backup_dir == Path("/backups/acme")


@pytest.mark.parametrize("name", ["../acme", "acme/../bolt", "", ".", "a b", "-acme", "a" * 64])
def test_a_name_that_leads_elsewhere_is_no_pair(name: str, make_pair: MakePair) -> None:
    make_pair("acme")
    with pytest.raises(SettingsWrong):
        load_settings(pair=name)


def test_a_folder_that_is_a_link_is_no_pair_and_settings_behind_one_are_another_pairs(
    make_pair: MakePair, tmp_path: Path
) -> None:
    folder = make_pair("acme")
    (tmp_path / "pairs" / "bolt").symlink_to("acme")
    assert "is a link" in refused("bolt")
    (folder.parent / "cord").mkdir()
    (folder.parent / "cord" / ".env").symlink_to(folder / ".env")
    assert "Pair cord: .env leads to" in refused("cord")


def test_two_pairs_with_one_marketo_do_not_both_sync(make_pair: MakePair) -> None:
    folder = make_pair("acme", marketo_url="https://1.mktorest.com")
    make_pair("bolt", marketo_url="https://1.MKTOREST.com:443/rest")
    make_pair("cord", marketo_url="https://1.mktorest.com:4711")
    (folder.parent / "notes").mkdir()

    def wrong() -> list[str]:
        found = load_pairs(load_installation())
        assert list(found) == ["acme", "bolt", "cord"]
        return [name for name, each in found.items() if isinstance(each, SettingsWrong)]

    assert wrong() == ["acme", "bolt"]
    (folder / "data").mkdir()
    (folder / "data" / "snapshot.duckdb").touch()
    assert wrong() == ["bolt"], "who has synced before goes on"


MOUNTS = """22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:50 / /srv/nfs rw,relatime - nfs4 filer:/export rw,vers=4.2
41 40 0:51 / /srv/nfs/local\\040disk rw - xfs /dev/vdb rw
42 22 0:52 / /srv/ssh rw,nosuid - fuse.sshfs me@host: rw
43 22 0:53 / /srv/twice rw - ext4 /dev/vdc rw
44 22 0:54 / /srv/twice rw - cifs //host/share rw
not a line of it
"""


@pytest.mark.parametrize(
    ("folder", "kind", "is_local"),
    [
        ("/srv/pairs/acme", "ext4", True),
        ("/srv/nfs/pairs/acme", "nfs4", False),
        ("/srv/nfsomething", "ext4", True),
        ("/srv/nfs/local disk/acme", "xfs", True),
        ("/srv/ssh", "fuse.sshfs", False),
        ("/srv/twice/acme", "cifs", False),
    ],
)
def test_a_pair_on_a_network_file_system_is_refused(folder: str, kind: str, is_local: bool) -> None:
    assert file_system(Path(folder), MOUNTS) == kind
    if is_local:
        require_local("acme", Path(folder), MOUNTS)
        return
    with pytest.raises(SettingsWrong, match=f"Pair acme: .*network file system \\({kind}\\)"):
        require_local("acme", Path(folder), MOUNTS)


def test_the_mounts_of_this_machine_are_understood(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert file_system(tmp_path, mounts)
    assert file_system(Path("/proc/self"), mounts) == "proc"
