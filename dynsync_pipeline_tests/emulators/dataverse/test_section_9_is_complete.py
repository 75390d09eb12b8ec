"""No item of section 9 of the protocol sheet is without a test named after its number."""

from __future__ import annotations

import re
from pathlib import Path

N_ITEMS = 32


def test_every_item_of_section_9_has_a_test() -> None:
    text = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_section_9_*.py")))
    numbers = {int(number) for number in re.findall(r"^def test_9_(\d\d)_", text, re.MULTILINE)}
    assert numbers == set(range(1, N_ITEMS + 1))
