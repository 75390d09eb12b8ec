"""Scenarios that go through the same cycles side by side, so that sixty of them cost a dozen syncs and not two hundred.

A scenario is a generator: it acts, yields where the sync has its turn, looks at what happened, acts again. In a round all
scenarios of a module act, one cycle runs for all, and a second one that must write nothing and log nothing (R12).
Not here: what any scenario says (the test modules do).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from dynsync_pipeline_tests.worlds.core import CoreWorld

Scenario = Callable[[CoreWorld], Iterator[None]]
_scenarios: dict[str, dict[str, Scenario]] = defaultdict(dict)


def scenario(function: Scenario) -> Callable[[Scenarios], None]:
    """Make a test of a generator that takes a world and yields where both systems are to be synced."""
    _scenarios[function.__module__][function.__name__] = function

    def test(scenarios: Scenarios) -> None:
        scenarios.tell(function.__name__)

    test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
    return test


class Scenarios:
    """What became of each scenario of a module, and of the cycles that should have been quiet."""

    def __init__(self, world: CoreWorld, request: pytest.FixtureRequest) -> None:
        wanted = {item.name for item in request.session.items if item.nodeid.startswith(request.node.nodeid)}
        functions = {name: f for name, f in _scenarios[request.module.__name__].items() if name in wanted}
        self._failures: dict[str, BaseException] = {}
        self._noise: list[str] = []
        running = {name: function(world) for name, function in functions.items()}
        while running:
            for name, steps in list(running.items()):
                try:
                    next(steps)
                except StopIteration:
                    del running[name]
                except BaseException as failure:
                    if isinstance(failure, KeyboardInterrupt):
                        raise
                    self._failures[name] = failure
                    del running[name]
            if running:
                world.settle_all(self._noise)

    def tell(self, name: str) -> None:
        """Raise what a scenario raised."""
        if name in self._failures:
            raise self._failures[name]

    def check_quiet(self) -> None:
        """Assert that every second cycle wrote nothing and logged nothing."""
        assert not self._noise, "\n".join(self._noise)
