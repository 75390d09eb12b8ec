"""A stored link that Dynamics refuses costs one full read a day; refused again, its table waits and says so.

Source: docs/protocols/dataverse.md#change-tracking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import duckdb
import pytest

from dynsync_pipeline.emulators.faults import Fault
from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = story

LINK = "contacts.*(deltatoken|skiptoken)"  # a delta or a next link of contacts, never the beginning of a full read


@pytest.fixture
def world(make_world: Callable[..., HttpWorld]) -> Iterator[HttpWorld]:
    """A world after its first load, whose links Dynamics takes."""
    world = make_world()
    world.record_id = world.create_record("contact", lastname="Nakamura", jobtitle="A")  # type: ignore[attr-defined]
    world.lead_id = world.create_record("lead", lastname="Sato", jobtitle="A")  # type: ignore[attr-defined]
    world.sync()
    yield world
    world.emulators.dataverse_faults.clear()


def refuse(world: HttpWorld, *, times: int, code: str = "0x80060888", path: str = LINK) -> None:
    """From now on so many requests to a link are answered with a 400 nobody has documented."""
    world.emulators.dataverse_faults.add(
        Fault(method="GET", path=path, times=times, status=400, code=code, message="Malformed XML in the cookie.")
    )


def title_in_marketo(world: HttpWorld, record_type: str, record_id: str) -> object:
    return world.person(world.person_of(record_type, record_id), "title")["title"]


def waiting_streams(world: HttpWorld) -> list[tuple[object, ...]]:
    return world.query("select stream from cursors where waits_because is not null")


@pytest.mark.parametrize("code", sampled(["0x80060888", "0x80040203", ""], 1))
def test_a_link_that_is_refused_for_any_reason_leads_to_a_full_read(world: HttpWorld, code: str) -> None:
    refuse(world, times=1, code=code)
    world.edit_record("contact", world.record_id, jobtitle="B")  # type: ignore[attr-defined]
    world.sync()
    assert title_in_marketo(world, "contact", world.record_id) == "B"  # type: ignore[attr-defined]
    assert waiting_streams(world) == []
    with world.writes_nothing():
        world.sync()


def test_a_table_whose_link_is_refused_again_waits_and_everything_else_goes_on(world: HttpWorld) -> None:
    contact_id, lead_id = world.record_id, world.lead_id  # type: ignore[attr-defined]
    refuse(world, times=1)
    world.sync()
    refuse(world, times=0)
    world.edit_record("contact", contact_id, jobtitle="B")
    world.edit_record("lead", lead_id, jobtitle="B")
    person_id = world.person_of("contact", contact_id)
    world.edit_person(person_id, phone="+81 3")
    world.dynamics.forget()
    world.sync()
    assert title_in_marketo(world, "lead", lead_id) == "B", "the other tables go on"
    assert world.record("contact", contact_id)["telephone1"] == "+81 3", "and so does Marketo"
    assert waiting_streams(world) == [("dynamics_contacts",)]
    shown = world.dynsync("status").stdout
    assert "Dynamics contacts" in shown and "Malformed XML" in shown, shown
    world.emulators.dataverse_faults.clear()
    world.sync()
    assert title_in_marketo(world, "contact", contact_id) == "B", "its cursor was kept, and nothing was lost"
    assert waiting_streams(world) == []
    with world.writes_nothing():
        world.sync()


def test_a_page_of_the_full_read_that_is_refused_too_stops_nobody_else(world: HttpWorld) -> None:
    """The link refused in the same cycle: the delta link first, then the next link of the full read that answers it."""
    lead_id = world.lead_id  # type: ignore[attr-defined]
    refuse(world, times=0, path="/contacts")
    world.edit_record("lead", lead_id, jobtitle="B")
    world.sync()
    assert title_in_marketo(world, "lead", lead_id) == "B"
    assert waiting_streams(world) == [("dynamics_contacts",)]


@deep
def test_a_day_later_a_refused_link_is_answered_by_a_full_read_again(world: HttpWorld) -> None:
    contact_id = world.record_id  # type: ignore[attr-defined]
    refuse(world, times=1)
    world.sync()
    refuse(world, times=0)
    world.edit_record("contact", contact_id, jobtitle="B")
    world.sync()
    assert title_in_marketo(world, "contact", contact_id) == "A"
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
        working.execute("update state.refused_links set read_anew_at = read_anew_at - interval 25 hour")
    world.sync()
    assert title_in_marketo(world, "contact", contact_id) == "B"


def test_a_first_load_whose_links_are_refused_fails_and_makes_nobody(make_world: Callable[..., HttpWorld]) -> None:
    """What was never read as a whole may not be compared."""
    world = make_world()
    world.create_record("contact", lastname="Nakamura")
    refuse(world, times=0, path="/contacts")
    with pytest.raises(RequestRefused):
        world.sync()
