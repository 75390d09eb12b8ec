"""Where settings come from: the environment and `.env` of the process, or, of a pair, its own `.env` alone.

Not here: what each setting is (`settings.py`), folders of pairs (`pairs.py`).
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.pairs import ENV_FILE, pair_folder, pair_names, require_local, require_own, share_of_machine
from dynsync_pipeline.settings import PREFIX, Settings

log = logging.getLogger(__name__)
logging.getLogger("dotenv.main").addFilter(lambda _: False)  # `_warn_of_lines` tells each bad line, and once

FAULTS = {
    "int_parsing": "must be a whole number", "int_parsing_size": "must be a whole number of fewer digits",
    "float_parsing": "must be a number such as 0.5", "finite_number": "must be a number such as 0.5",
    "bool_parsing": "must be true or false", "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}", "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}  # fmt: skip
"""What is wrong, in our words, by what pydantic calls it."""
INSTALLATION = frozenset({"pairs_dir", "pair", "cycles_at_once"})
"""Settings of a machine with several pairs, and of none of these."""


def load_settings(env_file: Path | None = None, *, pair: str | None = None) -> Settings:
    """Read the settings of this process, or those of the pair that is named; `env_file` replaces `.env`.

    Raises: SettingsWrong, naming each setting at fault and never its value.
    """
    settings = load_installation(env_file)
    name = pair or settings.pair
    if settings.pairs_dir is not None and name:
        return _load_pair(settings, name)
    if settings.pairs_dir is not None:
        raise SettingsWrong(
            "There are several pairs, and none was named.", next_step="Give --pair NAME; `dynsync pairs` shows them."
        )
    if name:
        raise SettingsWrong(
            f"Pair {name} was named, and DYNSYNC_PAIRS_DIR names no folder of pairs.",
            next_step="Set it (docs/pairs.md), or leave --pair and DYNSYNC_PAIR out.",
        )
    return settings


def load_installation(env_file: Path | None = None) -> Settings:
    """Read the settings of this process; where these name a folder of pairs, they are of no pair. Raises: SettingsWrong."""
    _warn_of_unknown_names(os.environ, "")
    settings = _read(env_file or Path(ENV_FILE))
    of_a_pair = _set_in(settings, but_not=INSTALLATION | {"data_dir", "cycle_limit_s"})
    if settings.pairs_dir is not None and of_a_pair:
        raise SettingsWrong(
            f"{', '.join(of_a_pair)}: set beside DYNSYNC_PAIRS_DIR, and of no pair there.",
            next_step="Set it in the .env of the pair that it belongs to.",
        )
    return settings


def load_pairs(installation: Settings) -> dict[str, Settings | SettingsWrong]:
    """The settings of every pair by name, or what is wrong with them. Raises: SettingsWrong where nobody can look.

    Two pairs with one Marketo would overwrite each other there: who has synced before goes on.
    """
    if installation.pairs_dir is None:
        return {}
    found = {name: _pair_or_error(installation, name) for name in pair_names(installation.pairs_dir)}
    usable = {name: each for name, each in found.items() if isinstance(each, Settings) and each.marketo_url}
    marketos = {name: each.addresses["marketo"] for name, each in usable.items()}
    for name, settings in usable.items():
        twins = [other for other in usable if other != name and marketos[other] == marketos[name]]
        is_first = settings.snapshot_file.exists() and not any(usable[twin].snapshot_file.exists() for twin in twins)
        if twins and not is_first:
            found[name] = SettingsWrong(
                f"Pair {name}: DYNSYNC_MARKETO_URL is that of pair {', '.join(twins)}, too.",
                next_step="Correct one of them; a Marketo belongs to one pair.",
            )
    return found


def find_pairs_dir() -> Path | None:
    """The folder of pairs, if this process has several; looks at no other setting, and where it cannot look, there is none."""
    try:
        name = _values_of_process(Path(ENV_FILE)).get("pairs_dir", "")
    except (OSError, ValueError):  # told by whoever loads all settings
        return None
    return Path(name) if name.strip() else None


def _pair_or_error(installation: Settings, name: str) -> Settings | SettingsWrong:
    try:
        return _load_pair(installation, name)
    except SettingsWrong as error:
        return error


def _load_pair(installation: Settings, name: str) -> Settings:
    """The settings of one pair, its paths made absolute. Opens no file of another pair. Raises: SettingsWrong."""
    folder = pair_folder(installation.pairs_dir or Path(), name)
    file = folder / ENV_FILE
    require_own(name, folder, {ENV_FILE: file})
    try:
        state = file.stat()
    except OSError:
        raise SettingsWrong(
            f"There is no pair {name}: {file} is not there.",
            next_step=f"`dynsync init --pair {name}` makes it; `dynsync pairs` shows those that are there.",
        ) from None
    return _read_pair(name, folder, installation.cycles_at_once, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=4_096)
def _read_pair(name: str, folder: Path, n_at_once: int, version: tuple[int, int, int]) -> Settings:
    """Read a pair's `.env`; `version` tells when it must be read again, because a sensor asks for all of them at each tick."""
    settings = _read(folder / ENV_FILE, f"Pair {name}: ")
    if shared := _set_in(settings, among=INSTALLATION):
        raise SettingsWrong(f"Pair {name}: {', '.join(shared)}: no setting of a pair.", next_step="Remove it there.")
    paths = {
        field: folder / value for field in Settings.model_fields if isinstance(value := getattr(settings, field), Path)
    }
    own = {PREFIX + field.upper(): path for field, path in paths.items() if field != "ca_file"}
    require_own(name, folder, own, may_be_elsewhere={f"{PREFIX}{each}_DIR" for each in ("BACKUP", "PARQUET", "TEMP")})
    require_local(name, paths["data_dir"])
    memory_mb, threads = share_of_machine(n_at_once)
    shares = {"memory_mb": settings.memory_mb or memory_mb, "threads": settings.threads or threads}
    return settings.model_copy(update={**paths, **shares, "pair": name})


def _set_in(settings: Settings, *, among: Collection[str] = (), but_not: Collection[str] = ()) -> list[str]:
    """Variables of the settings that differ from their default."""
    names = [name for name in Settings.model_fields if name in among or (but_not and name not in but_not)]
    return [PREFIX + name.upper() for name in names if getattr(settings, name) != Settings.model_fields[name].default]


def _read(file: Path, whose: str = "") -> Settings:
    """Read the settings of this process with this `.env`, or of the pair `whose` file alone it is. Raises: SettingsWrong."""
    if file.is_dir():
        raise SettingsWrong(f"{file} is a folder.", next_step="Remove it; settings stand in a file of that name.")
    try:
        bindings = _bindings(file)
        _warn_of_lines(bindings, file)
        _warn_of_unknown_names((line.key for line in bindings if line.key), f" in {file.name}")
        values = _own_values(bindings, whose) if whose else _values_of_process(file)
        return Settings(**values)
    except UnicodeDecodeError:
        raise SettingsWrong(f"{file} is not UTF-8 text.", next_step="Save it as UTF-8.") from None
    except OSError as error:
        raise SettingsWrong(
            f"{file} cannot be read: {error.strerror}.", next_step="Make it readable for the user who runs DynSync."
        ) from None
    except ValidationError as error:
        faults = "; ".join(
            "".join(f"{PREFIX}{str(name).upper()}: " for name in fault["loc"]) + _said(fault)
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsWrong(
            f"{whose}Settings cannot be used: {faults}.", next_step="Correct the environment or .env."
        ) from None


def _bindings(file: Path) -> list[Binding]:
    """The lines of a `.env` file; none where it is no file, as a pipe, which can be read once."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8") as stream:
        return list(parse_stream(stream))


def _values_of_process(file: Path) -> dict[str, str]:
    """The settings of this process by field, its environment before its `.env`; an empty one is not set."""
    in_file = dotenv_values(file, encoding="utf-8") if file.exists() else {}
    return _by_field(in_file.items()) | _by_field(os.environ.items())


def _by_field(variables: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """What the variables set, by the name of the setting; they are written large or small, and the last that sets it counts."""
    named = {name.upper(): value for name, value in variables if value}
    return {name.removeprefix(PREFIX).lower(): value for name, value in named.items() if name.startswith(PREFIX)}


def _own_values(bindings: Iterable[Binding], whose: str) -> dict[str, str]:
    """The settings of a pair's file by field. Raises: SettingsWrong where a value refers to a variable: that may be of the
    process, and so another pair's.
    """
    for line in bindings:
        if line.value and "${" in line.value:
            raise SettingsWrong(
                f"{whose}{line.key} in {ENV_FILE} refers to another variable with ${{…}}.",
                next_step="Write the value itself: a pair takes nothing from the environment.",
            )
    return _by_field((line.key or "", line.value) for line in bindings)


def _warn_of_lines(bindings: Iterable[Binding], file: Path) -> None:
    """Tell which lines of a `.env` file set nothing, in one sentence."""
    bad = [line.original.line for line in bindings if line.error or (line.key is not None and line.value is None)]
    if bad:
        lines = f"lines {', '.join(map(str, bad))} are" if len(bad) > 1 else f"line {bad[0]} is"
        log.warning("%s: %s not of the form NAME=value and set nothing. Correct or remove them.", file.name, lines)


def _warn_of_unknown_names(names: Iterable[str], place: str) -> None:
    """Tell of names that look like a setting and are none, with the setting that was probably meant."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            log.warning("%s%s is not a setting and is ignored.%s", name, place, f" Is {near[0]} meant?" if near else "")


def _said(fault: ErrorDetails) -> str:
    """What is wrong with a value, without it."""
    told = FAULTS.get(fault["type"])
    return told.format(**fault.get("ctx", {})) if told else fault["msg"].removeprefix("Value error, ")
