"""How hard the property tests try, and what they met: examples, and those with collisions among them.

The profiles are in the `conftest.py` of all tests; `deep.py` runs the deep one until its time is up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import settings

# Which command tries a test that bears one; without either `make test` does, which tries a test of each rule and all short ones.
story = pytest.mark.story  # `make stories`: it takes its time, and what it holds is no rule's only proof
deep = pytest.mark.deep  # `make deep` alone: a long one of what a shorter test of `make test` holds too
TALLY: Counter[str] = Counter()


def is_deep() -> bool:
    """Whether `make deep` runs, which takes its time."""
    return settings.get_current_profile_name() == "deep"


def examples(n: int) -> settings:
    """`n` examples, but in the profile deep as many as that says."""
    return settings() if is_deep() else settings(max_examples=n)


def sampled(values: Sequence[object], n: int) -> list[object]:
    """Parameters of a test: the first `n` as they are, the others for `make deep` alone."""
    others = (value if isinstance(value, tuple) else (value,) for value in values[n:])
    return [*values[:n], *(pytest.param(*value, marks=deep) for value in others)]


def tally(n_collisions: int) -> None:
    """Count an example, and whether anything collided in it."""
    TALLY["examples"] += 1
    TALLY["with collisions"] += n_collisions > 0


def tally_sentence() -> str:
    """What was counted, in the form that `deep.py` adds up."""
    return f"Collisions in {TALLY['with collisions']} of {TALLY['examples']} examples."
