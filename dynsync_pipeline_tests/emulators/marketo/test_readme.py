"""The emulator's README and its control endpoints' list say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from dynsync_pipeline.emulators.marketo import app, control
from dynsync_pipeline.emulators.marketo.store import Behaviour
from dynsync_pipeline_tests.docs.citations import n_items_of_checklist
from dynsync_pipeline_tests.emulators.marketo import test_checklist
from dynsync_pipeline_tests.emulators.marketo.conftest import Marketo

FOLDER = Path(app.__file__).parent
README = (FOLDER / "README.md").read_text("utf-8")


def test_every_control_endpoint_in_the_list_is_served(marketo: Marketo) -> None:
    listed = re.findall(r"^\| `(GET|POST) (/emulator/marketo/[a-z/]+)`", control.__doc__ or "", re.MULTILINE)
    assert len(listed) >= 9
    for method, path in listed:
        answer = marketo.http.request(method, path, content=b"nonsense")
        assert answer.status_code in (200, 400), (method, path)


def test_every_item_of_the_checklist_has_a_test() -> None:
    tested = {int(number) for number in re.findall(r"test_checklist_(\d\d)_", " ".join(dir(test_checklist)))}
    assert tested == set(range(1, n_items_of_checklist("marketo") + 1))


def test_switches_named_in_the_readme_exist() -> None:
    names = {field.name for field in msgspec.structs.fields(Behaviour)}
    assert {"native_crm", "merge_trail"} <= names
    for name in ("native_crm", "merge_trail"):
        assert name in README


def test_every_part_of_the_emulator_is_named_at_the_way_in() -> None:
    parts = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "app"}
    assert parts <= set(re.findall(r"`(\w+)`", app.__doc__ or ""))
