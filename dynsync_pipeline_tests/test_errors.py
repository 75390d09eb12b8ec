"""The tree of errors that is drawn at the top of `errors.py` is the tree of its classes."""

from __future__ import annotations

import inspect
import re

import pytest

from dynsync_pipeline import errors
from dynsync_pipeline.errors import DynSyncError


def drawn() -> dict[str, str]:
    """Each class of the drawing with the one above it."""
    above = {0: "DynSyncError"}
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"([│ ]*)[├└]── (\w+)", line)
        if branch:
            depth = len(branch[1]) // 4
            tree[branch[2]] = above[depth]
            above[depth + 1] = branch[2]
    return tree


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    classes = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, DynSyncError) and kind is not DynSyncError
    }
    assert len(classes) > 15
    assert drawn() == classes


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Invalid value for field 'email'", "Invalid value for field 'email'. Correct it."),
        ("No client with that secret..", "No client with that secret. Correct it."),
        ("It is full.", "It is full. Correct it."),
        ("Is it there?", "Is it there? Correct it."),
        ("", "Correct it."),
    ],
)
def test_what_happened_and_what_to_do_are_two_sentences(message: str, told: str) -> None:
    assert str(DynSyncError(message, next_step="Correct it.")) == told
    assert str(DynSyncError(message)) == message
