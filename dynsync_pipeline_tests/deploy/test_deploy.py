"""What `deploy/` says is true: versions, names, what `dynsync init` makes. Docker and Kubernetes themselves are not run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import dynsync_pipeline
from dynsync_pipeline import __version__
from dynsync_pipeline.cli import main
from dynsync_pipeline.cli.commands import COMMANDS
from dynsync_pipeline.defs.development import POSTGRES_URL
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.settings_sources import load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ \\;]+)", re.MULTILINE)


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text("utf-8")


def yaml_of(name: str) -> Any:
    return yaml.safe_load(text_of(name))


def init(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dynsync", "init", str(folder), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_every_place_names_this_version_of_dynsync_and_the_pinned_one_of_dagster() -> None:
    values = yaml_of("helm-values.yaml")
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert deployment["image"]["tag"] == __version__
    assert yaml_of("compose.yaml")["x-dynsync"]["image"] == f"dynsync:{__version__}"
    assert f"--version {version('dagster')} " in text_of("helm-values.yaml")


def test_the_image_has_the_pinned_libraries_and_none_of_those_for_development() -> None:
    pinned, in_image = (
        dict(PIN.findall(text)) for text in ((ROOT / "requirements.lock").read_text(), text_of("requirements.lock"))
    )
    assert {name: pinned.get(name) for name in in_image} == in_image
    assert in_image.keys() >= {"dagster", "dagster-webserver", "dagster-postgres", "duckdb"}
    assert not in_image.keys() & {"pytest", "mypy", "faker", "trustme"}


def test_the_services_are_nobodys_in_particular_and_write_to_their_folder_alone() -> None:
    common = yaml_of("compose.yaml")["x-dynsync"]
    assert (common["user"], common["read_only"], common["cap_drop"]) == ("10001:10001", True, ["ALL"])
    assert "USER 10001:10001" in text_of("Dockerfile")
    assert "--uid 10001" in text_of("Dockerfile")
    for unit in UNITS:
        lines = unit.read_text("utf-8").splitlines()
        assert {"User=dynsync", "ProtectSystem=strict", "NoNewPrivileges=true", "UMask=0077"} <= {*lines}


def test_commands_and_settings_that_are_named_exist() -> None:
    named = [re.findall(r'"dynsync", "([a-z]+)"', file.read_text("utf-8")) for file in DEPLOY.iterdir()]
    assert {name for names in named for name in names} == {"init"}
    assert "init" in COMMANDS
    for program in ("dagster-webserver", "dagster-daemon"):
        assert (Path(sys.executable).parent / program).exists()
        assert any(f"/opt/dynsync/bin/{program} " in unit.read_text("utf-8") for unit in UNITS)
    assert f"{POSTGRES_URL}: postgresql+psycopg2://" in text_of("compose.yaml")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """Under other names, because an administrator of this machine may have masked these, and with a program that is there."""
    for unit in UNITS:
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8"))
        (tmp_path / f"tried-{unit.name}").write_text(text)
    files = sorted(tmp_path.glob("tried-*"))
    told = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
    assert not [line for line in told.stderr.splitlines() if "tried-" in line]


def test_a_server_needs_no_start_of_make_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "O'Brien's server"
    assert init(folder, monkeypatch) == 0
    monkeypatch.chdir(folder)
    settings = load_settings()
    assert (settings.backup_hours, settings.field_map) == (24, Path("fields.csv"))
    assert load_field_map(settings.field_map) == load_field_map()
    assert yaml.safe_load(Path("workspace.yaml").read_text()) == yaml.safe_load((ROOT / "workspace.yaml").read_text())
    with dg.DagsterInstance.from_config("data/dagster") as instance:
        assert instance.run_monitoring_enabled
        assert "Sqlite" in type(instance.run_storage).__name__
    modes = {name: oct(Path(name).stat().st_mode)[-3:] for name in (".", ".env", "data", "data/dagster")}
    assert modes == {".": "700", ".env": "600", "data": "700", "data/dagster": "700"}


def test_what_was_filled_in_stays_when_it_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init(tmp_path, monkeypatch, "--postgres") == 0
    home = tmp_path / "data" / "dagster" / "dagster.yaml"
    assert yaml.safe_load(home.read_text())["storage"] == {"postgres": {"postgres_url": {"env": POSTGRES_URL}}}
    for name in (".env", "fields.csv"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n# mine\n")
    with (tmp_path / ".env").open("a") as env:
        env.write("DYNSYNC_CYCLE_LIMIT_S=77\n")
    assert init(tmp_path, monkeypatch) == 0
    assert all("# mine" in (tmp_path / name).read_text() for name in (".env", "fields.csv"))
    told = yaml.safe_load(home.read_text())
    assert told["run_monitoring"]["max_runtime_seconds"] == 77
    assert "storage" in told


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "file").touch()
    assert init(tmp_path / "file" / "server", monkeypatch) == 1
    assert "cannot be read or written" in capsys.readouterr().err.replace(os.linesep, " ")


def test_a_wheel_holds_every_file_of_the_package() -> None:
    """Setuptools leaves out what is no Python and matches none of the patterns in `pyproject.toml`."""
    package = Path(dynsync_pipeline.__path__[0])
    found = {file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    held = {file for pattern in patterns["dynsync_pipeline"] for file in package.glob(pattern)}
    assert {str(file) for file in found - held if file.suffix != ".py"} == set()
