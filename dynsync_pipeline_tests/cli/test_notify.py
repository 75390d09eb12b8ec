"""`dynsync notify`, and what `dynsync sync` tells people after its cycle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline_tests.cli.conftest import HandMade, Run
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.hook import Hook, listening


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as server:
        yield server


@story
def test_the_test_says_of_each_address_whether_it_took_a_line(run: Run, hand_made: HandMade, hook: Hook) -> None:
    with Hook() as gone:
        addresses = f"{hook.address} {gone.address}"
    ran = run("notify", "--test", environment=hand_made.environment | {"DYNSYNC_NOTIFY": addresses})
    assert (ran.code, ran.out) == (1, "JSON: sent\nJSON: not sent\n")
    assert "secret-path" not in ran.out + ran.err
    assert "dynsync notify --test" in hook.told[0]["message"]
    assert run("notify", "--test", environment={"DYNSYNC_NOTIFY": hook.address}).code == 0


@pytest.mark.parametrize("options", [[], ["--test"]])
def test_without_an_address_it_is_a_sentence_and_2(run: Run, hand_made: HandMade, options: list[str]) -> None:
    ran = run("notify", *options, environment=hand_made.environment)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: DYNSYNC_NOTIFY is not set. Set it")


def test_a_sync_that_fails_tells_people_what_it_failed_of_and_ends_as_it_would_have(
    run: Run, hand_made: HandMade, hook: Hook
) -> None:
    hand_made.publish(hand_made.cycle(1, "2026-01-01 00:00:00"))
    environment = hand_made.environment | {"DYNSYNC_NOTIFY": hook.address}
    ran = run("sync", environment=environment)
    assert ran.code == 2
    assert ran.err.count("Not set: DYNSYNC_DYNAMICS_URL") == 1
    assert "No cycle has succeeded since 2026-01-01" in hook.told[0]["message"]
    assert run("notify", environment=environment).out == "Nothing new to tell.\n"
