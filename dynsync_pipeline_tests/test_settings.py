"""Settings: secrets never print, a wrong setting is named and its value is not, and `.env.example` tells them all.

`.env.example` holds every field of `Settings` in order: a comment with its description, `DYNSYNC_<NAME>=<default>`
(nothing after the sign where there is no default), and an empty line. After a change of settings.py, write it anew:
`python -m dynsync_pipeline_tests.test_settings > .env.example`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.operate.installation import settings_text
from dynsync_pipeline.settings import PREFIX, Settings
from dynsync_pipeline.settings_sources import load_settings

ENV_EXAMPLE = Path(__file__).parent.parent / ".env.example"
SECRET = "s3cr3t-Value"
SECRETS = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting and no .env but what the test gives."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_env_example_tells_every_setting_with_its_default() -> None:
    assert ENV_EXAMPLE.read_text("utf-8") == settings_text()


def test_env_example_changes_nothing_when_copied() -> None:
    assert load_settings(ENV_EXAMPLE) == Settings()


def test_every_setting_is_described_in_one_line() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert "\n" not in field.description
        assert field.description.endswith("."), name


def test_secrets_are_found() -> None:
    """The tests below would prove nothing about an empty list."""
    assert {"dynamics_client_secret", "dynamics_password", "marketo_client_secret"} <= set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_never_prints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), SECRET)
    settings = load_settings()
    value = getattr(settings, name)
    assert isinstance(value, SecretStr)
    assert value.get_secret_value() == SECRET
    for text in (
        repr(settings),
        str(settings),
        f"{settings!s}",
        settings.model_dump_json(),
        str(settings.model_dump()),
    ):
        assert SECRET not in text


WRONG = {
    "dynamics_url": [
        "ftp://wrong.example",
        "https://",
        "https://org.example/api/data",
        "http://org.example",
        "org.example",
        "https://org example.com",
        "https://org..example",
        "https://org.example#wrong",
        "https://%zz",
        "https://-org.example",
        "https://org\u200b.example;wrong",
        "https://" + "a" * 64 + ".example",
    ],
    "dynamics_authority": ["http://login.example", "https://login.example/tenant", "https://login\\wrong"],
    "dynamics_client_id": ["wrong\x07id"],
    "data_dir": ["wrong\x1b[2J"],
    "report_doubles": ["perhaps"],
    "lead_list": ["wrong", "0"],
    "marketo_url": ["https://m.example/identity", "https://user:wrong@m.example", "https://m.example:port"],
    "dynamics_calls_per_day": ["0", "-1", "many", "1.5", "9" * 400],
    "marketo_calls_per_day": ["0", "wrong", "9" * 5000],
    "marketo_calls_per_20_s": ["0", "-3"],
    "marketo_oldest_person": ["yesterday", "2026-13-01", "2999-01-01", "0001-01-01"],
    "marketo_poll_s": ["0", "wrong"],
    "first_load": ["adopted", "CREATE!"],
    "max_creates": ["-1", "wrong"],
    "census_days": ["0", "1e-300", "1e308", "inf"],
    "pause_s": ["-1", "wrong", "nan", "inf", "1e308"],
    "cycle_limit_s": ["0", "nan"],
    "request_timeout_s": ["0", "inf"],
    "retry_limit_s": ["-0.5", "wrong"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_setting_is_one_sentence_with_its_name_and_without_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), value)
    with pytest.raises(SettingsWrong) as caught:
        load_settings()
    text = str(caught.value)
    assert PREFIX + name.upper() in text
    assert "\n" not in text
    told = text.replace(PREFIX + name.upper(), "").replace("http://", "").replace("https://example.com", "")
    # Digits such as 0 stand in limits ("greater than 0"); whatever else was given must not be repeated.
    assert len(text) < 300
    assert value.lstrip("-").replace(".", "").isdigit() or value.removeprefix("https://") == "" or value not in told
    assert "wrong@" not in text
    assert "Input" not in text, "a library's words"
    assert "input" not in text
    assert caught.value.next_step
    assert not caught.value.retry_helps


def test_several_wrong_settings_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNSYNC_PAUSE_S", "wrong")
    monkeypatch.setenv("DYNSYNC_MARKETO_URL", "wrong")
    with pytest.raises(SettingsWrong, match=r"DYNSYNC_MARKETO_URL.*DYNSYNC_PAUSE_S"):
        load_settings()


def test_two_ways_to_sign_in_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNSYNC_DYNAMICS_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("DYNSYNC_DYNAMICS_USERNAME", "sync@example.com")
    with pytest.raises(SettingsWrong) as caught:
        load_settings()
    assert "DYNSYNC_DYNAMICS_CLIENT_SECRET" in str(caught.value)
    assert "DYNSYNC_DYNAMICS_USERNAME" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "sync@example.com" not in str(caught.value)


@pytest.mark.parametrize(
    ("dynamics", "marketo"),
    [
        ("https://1-ab.mktorest.com", "https://org.crm4.dynamics.com"),
        ("https://1-ab.mktorest.com", ""),
        ("", "https://org.crm.dynamics.com/"),
    ],
)
def test_addresses_of_one_system_in_the_place_of_the_other_are_refused_with_both_names(
    dynamics: str, marketo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNSYNC_DYNAMICS_URL", dynamics)
    monkeypatch.setenv("DYNSYNC_MARKETO_URL", marketo)
    with pytest.raises(SettingsWrong, match="swapped") as caught:
        load_settings()
    assert "DYNSYNC_DYNAMICS_URL and DYNSYNC_MARKETO_URL" in str(caught.value)


def test_a_cycle_names_every_setting_it_misses() -> None:
    with pytest.raises(SettingsWrong) as caught:
        load_settings().require_systems()
    for name in ("DYNAMICS_URL", "DYNAMICS_TENANT_ID", "DYNAMICS_CLIENT_ID", "DYNAMICS_CLIENT_SECRET", "MARKETO_URL"):
        assert PREFIX + name in str(caught.value)


def test_an_env_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"DYNSYNC_DYNAMICS_USERNAME=M\xfcller\n")
    with pytest.raises(SettingsWrong, match=r"\.env"):
        load_settings()


def test_lines_of_an_env_file_that_set_nothing_are_told_in_one_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text("# ok\nno setting here\nDYNSYNC_DATA_DIR\nDYNSYNC_MAX_CREATES=5\n=x\n\n", "utf-8")
    assert load_settings().max_creates == 5
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(".env: lines 2, 3, 5 are not of the form NAME=value")


@pytest.mark.parametrize("content", [b"DYNSYNC_DATA_DIR=a\0b\n", b"DYNSYNC_CA_FILE=/a\0\n", None])
def test_an_env_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / ".env"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(SettingsWrong, match=r"\.env|control characters"):
        load_settings()


def test_the_environment_beats_the_file_and_empty_means_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("DYNSYNC_PAUSE_S=7\nDYNSYNC_MAX_CREATES=5\nDYNSYNC_DATA_DIR=\n", "utf-8")
    monkeypatch.setenv("DYNSYNC_PAUSE_S", "8")
    settings = load_settings()
    assert (settings.pause_s, settings.max_creates, settings.data_dir) == (8, 5, Path("data"))


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("https://1-ab.mktorest.example/rest", "https://1-ab.mktorest.example"),
        ("https://1-ab.mktorest.example/", "https://1-ab.mktorest.example"),
        (" https://1-ab.mktorest.example ", "https://1-ab.mktorest.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[fe80::1]:8080", "https://[fe80::1]:8080"),
        ("https://bücher_1.example.", "https://bücher_1.example."),
        ("", ""),
    ],
)
def test_an_address_is_understood_as_people_copy_it(
    given: str, understood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNSYNC_MARKETO_URL", given)
    assert load_settings().marketo_url == understood


def test_all_files_move_with_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNSYNC_DATA_DIR", "/somewhere")
    settings = load_settings()
    assert {settings.working_file.parent, settings.snapshot_file.parent, settings.lock_file.parent} == {
        Path("/somewhere")
    }


@pytest.mark.parametrize("name", ["a b", "Dynamics Typ", 'x"; drop table people; --', "grüße"])
def test_an_own_field_is_named_as_marketos_api_names_fields(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNSYNC_MARKETO_FIELD_TYPE", name)
    with pytest.raises(SettingsWrong, match="DYNSYNC_MARKETO_FIELD_TYPE: must be the REST name"):
        load_settings()


@pytest.mark.parametrize("name", ["dynamicsLeadId", "DYNAMICSLEADID", "dynamicsIsDeleted", "externalCompanyId", "id"])
def test_two_own_fields_of_one_name_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise several leads become one person."""
    monkeypatch.setenv("DYNSYNC_MARKETO_FIELD_TYPE", name)
    with pytest.raises(SettingsWrong, match="DYNSYNC_MARKETO_FIELD_TYPE"):
        load_settings()


def test_an_own_field_of_another_type_is_a_fault_with_its_setting() -> None:
    types = Settings().own_fields.types
    assert Settings().own_field_faults(types) == {}
    faults = Settings().own_field_faults({**types, "dynamicsIsDeleted": "string"})
    assert faults == {"DYNSYNC_MARKETO_FIELD_IS_DELETED": "dynamicsIsDeleted is string and must be boolean"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("DYNSYNC_MARKETO_CALL_PER_DAY=5", "DYNSYNC_MARKETO_CALLS_PER_DAY"),
        ("export DYNSYNC_PAUSES=5", "DYNSYNC_PAUSE_S"),
        ("dynsync_first_laod=create", "DYNSYNC_FIRST_LOAD"),
        ("DYNSYNC__DATA_DIR=x", "DYNSYNC_DATA_DIR"),
    ],
)
def test_a_misspelled_name_is_told_wherever_it_stands(
    written: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text(f"# DYNSYNC_COMMENTED=1\n{written}\nDYNSYNC_MAX_CREATES=5\nOTHER=1\n", "utf-8")
    assert load_settings().max_creates == 5
    (tmp_path / ".env").unlink()
    name, value = written.removeprefix("export ").split("=")
    monkeypatch.setenv(name, value)
    load_settings()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "in .env" in told[0]
    assert all(name.upper() in each.upper() and f"Is {meant} meant?" in each for each in told)


def test_a_misspelled_name_with_a_secret_is_told_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env").write_text(f"DYNSYNC_DYNAMICS_CLIENT_SECRETE={SECRET}\n", "utf-8")
    load_settings()
    assert "DYNSYNC_DYNAMICS_CLIENT_SECRET meant" in caplog.text
    assert SECRET not in caplog.text


if __name__ == "__main__":
    print(settings_text(), end="")


def test_a_value_of_blanks_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNSYNC_NOTIFY", "   ")
    monkeypatch.setenv("DYNSYNC_BACKUP_HOURS", "\t")
    settings = load_settings()
    assert settings.notify is None
    assert settings.backup_hours == Settings.model_fields["backup_hours"].default
