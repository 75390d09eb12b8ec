"""`--pair`: says for which of several pairs a command is, and never means another one."""

from __future__ import annotations

from pathlib import Path

from dynsync_pipeline_tests.cli.conftest import Run


def test_an_empty_name_does_not_mean_the_pair_of_the_environment(run: Run, tmp_path: Path) -> None:
    """As a shell gives it for a variable that is not set: an erasure would be for the wrong pair."""
    (tmp_path / "pairs" / "acme").mkdir(parents=True)
    (tmp_path / "pairs" / "acme" / ".env").touch()
    (tmp_path / ".env").write_text("DYNSYNC_PAIRS_DIR=pairs\nDYNSYNC_PAIR=acme\n")
    assert run("requests", environment={}).code == 0
    ended = run("requests", "--pair", "", environment={})
    assert (ended.code, "names no pair" in ended.err) == (2, True)
