"""No item of docs/protocols/dataverse.md#checklist is without a test named after its number."""

from __future__ import annotations

import re
from pathlib import Path

from dynsync_pipeline_tests.docs.citations import n_items_of_checklist


def test_every_item_of_the_checklist_has_a_test() -> None:
    text = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_checklist_*.py")))
    tested = {int(number) for number in re.findall(r"^def test_checklist_(\d\d)_", text, re.MULTILINE)}
    assert tested == set(range(1, n_items_of_checklist("dataverse") + 1))
