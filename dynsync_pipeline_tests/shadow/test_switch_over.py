"""A switch-over played from beginning to end, over HTTP: shadow beside a script in the place of the native sync, its end, edits
in the gap, the last shadow cycle, the audit, live. Each step of docs/switch-over.md. In shadow no system sees a write.

Not here: what parity makes of single writes (`test_parity.py`), single methods of the clients (`clients/test_shadow.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from dynsync_pipeline.cli.plan import planned
from dynsync_pipeline.cli.preflight import Finding, findings
from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.look.plan import read_plan
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.whole_cycle import run_cycle
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld, settings_from
from dynsync_pipeline_tests.worlds.native_sync import SOURCE, HttpWire, NativeSync, Pair

pytestmark = story

FIELDS = {"title": "jobtitle", "city": "address1_city", "phone": "telephone1"}
READS_BY_POST = ("/oauth2/v2.0/token", "/identity/oauth/token", "/export/create.json", "/enqueue.json")
MAPPED = ("company", "lastName", "email", *FIELDS)
LIVE = {"DYNSYNC_MODE": "live"}


@dataclass
class Beside:
    """A world with contacts and leads that stand in both systems and are kept equal by another sync."""

    world: HttpWorld
    native: NativeSync
    pairs: list[Pair]
    adopted: dict[str, int]

    def pair(self, record_type: RecordType, number: int = 0) -> Pair:
        return [pair for pair in self.pairs if pair.record_type is record_type][number]

    def sides(self, pair: Pair, name: str) -> tuple[object, object]:
        record = self.world.record(pair.record_type, pair.record_id)
        return record[FIELDS[name]], self.world.person(pair.person_id, name)[name]


def person_for(world: HttpWorld, record_type: RecordType, number: int) -> Pair:
    who = {"lastname": f"{record_type} {number}", "emailaddress1": f"{record_type}.{number}@example.com"}
    record_id = world.create_record(record_type, **who, jobtitle="A", address1_city="P")
    person_id = world.create_person(lastName=who["lastname"], email=who["emailaddress1"], title="A", city="P")
    return Pair(person_id, record_type, record_id)


def told(world: HttpWorld, *arguments: str, **other: str) -> dict[str, int]:
    ended = world.dynsync(*arguments, "--json", **other)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return dict(json.loads(ended.stdout))


def adopt(world: HttpWorld, name: str) -> dict[str, int]:
    """Propose, and apply what is proposed, as an operator does who agrees with it."""
    file = str(world.folder / name)
    told(world, "adopt", "--out", file)
    return told(world, "adopt", "--apply", file)


@pytest.fixture(scope="module", name="beside")
def _beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    with HttpWorld(tmp_path_factory.mktemp("beside"), fields=MAPPED) as world:
        pairs = [person_for(world, kind, n) for kind in (RecordType.CONTACT, RecordType.LEAD) for n in range(4)]
        world.control("marketo", "behaviour", {"native_crm": True})
        world.environment |= {"DYNSYNC_MODE": "shadow", "DYNSYNC_FIRST_LOAD": "adopt", "DYNSYNC_LARGEST_SHARE": "1"}
        wire = HttpWire(world, FIELDS)
        world.environment |= {"DYNSYNC_NATIVE_SOURCE": SOURCE, "DYNSYNC_NATIVE_USER": wire.user_id}
        native = NativeSync(wire, pairs, FIELDS)
        with world.writes_nothing():
            adopted = adopt(world, "adoption.csv")
            world.sync()
        yield Beside(world, native, pairs, adopted)
        wire.close()


@contextmanager
def reads_alone(world: HttpWorld) -> Iterator[None]:
    """Fail if any request inside could write, by the logs of the emulators: all but these are GET."""
    world.dynamics.forget()
    world.marketo.forget()
    yield
    paths = [*world.dynamics.paths, *world.marketo.paths]
    assert paths
    by_post = [path for path in paths if not path.startswith("GET ") and not path.endswith(READS_BY_POST)]
    assert by_post == []
    assert [*world.dynamics.writes, *world.marketo.writes] == []


def test_an_adoption_in_shadow_links_in_the_working_file_alone(beside: Beside) -> None:
    assert (beside.adopted["n_unkeyed"], beside.adopted["n_written"]) == (len(beside.pairs), 0)
    links = beside.world.query("select person_id_marketo, record_type, record_id_dynamics from links order by 1")
    assert links == [tuple(pair) for pair in beside.pairs]
    assert beside.world.people("dynamicsType", "Contact") == []


def test_no_request_of_whole_cycles_could_write_whatever_there_is_to_decide(beside: Beside) -> None:
    world, contact, lead = beside.world, beside.pair(RecordType.CONTACT), beside.pair(RecordType.LEAD)
    doomed = person_for(world, RecordType.LEAD, 9)
    world.edit_record("contact", contact.record_id, jobtitle="B")
    world.edit_person(contact.person_id, title="C", city="Q")
    world.edit_person(lead.person_id, title="C")
    world.edit_record("lead", lead.record_id, jobtitle="B")
    account_id = world.create_record("account", name="Contoso")
    bind = {"parentcustomerid_account@odata.bind": f"/accounts({account_id})"}
    world.create_record("contact", lastname="New", **bind)
    world.edit_person(contact.person_id, phone="9" * 200)  # which Dynamics is known to refuse
    assert world.sales.delete(f"/api/data/v9.2/leads({doomed.record_id})").status_code == 204
    with reads_alone(world), world.writes_nothing():
        world.sync()
        world.sync()
    shown = world.query("select field, reason_code from unsettled where person_id_marketo = ?", contact.person_id)
    assert {("title", "planned"), ("city", "planned"), ("phone", "refused")} <= set(shown)
    assert world.query("select count(*) from changes") == world.query("select count(*) from collisions") == [(0,)]
    assert world.query("select bool_and(is_shadow) from cycles") == [(True,)]
    beside.native.run()
    with reads_alone(world), world.writes_nothing():
        world.sync()
    held = [beside.sides(contact, "title"), beside.sides(contact, "city"), beside.sides(lead, "title")]
    assert held == [("B", "B"), ("Q", "Q"), ("C", "C")]
    told = json.loads(world.dynsync("parity", "--json").stdout)
    assert told["verdicts"] == {"same": 3, "differs": 0, "cannot_tell": 0}
    assert {row["field"]: row["rule_code"] for row in told["rows"] if row["record_type"] == "contact"} == {
        "title": "dynamics_wins", "city": "one_sided",
    }  # fmt: skip
    rows = "select field from unsettled where person_id_marketo in (?, ?) and field in ('title', 'city')"
    assert world.query(rows, contact.person_id, lead.person_id) == [], "what the native sync carried over is agreed"


@pytest.mark.parametrize(
    "arguments",
    [
        ("push", "--as", "contact", "--person", "1"),
        ("assign", "--owner", "Sally Sales", "--person", "1"),
        ("task", "--subject", "Call", "--person", "1"),
        ("setup", "--apply"),
        ("merge", "--apply", "1", "--yes"),
        ("undo", "1", "--apply"),
    ],
)
def test_a_command_that_would_write_says_that_shadow_does_not(beside: Beside, arguments: tuple[str, ...]) -> None:
    with beside.world.writes_nothing():
        ended = beside.world.dynsync(*arguments)
    assert ended.returncode != 0
    assert "is not done in shadow, which writes to neither system. Nothing was sent." in ended.stderr
    assert "DYNSYNC_MODE=live" in ended.stderr
    assert not beside.world.query("from requests")


def asked(world: HttpWorld) -> dict[str, Finding]:
    settings = settings_from(world.environment)
    fields = load_field_map(settings.field_map, settings.own_fields)
    return {finding.question: finding for finding in findings(settings, fields)}


def test_check_expects_the_native_sync_and_asks_for_no_right_to_write(beside: Beside) -> None:
    world = beside.world
    line = "Marketo: the native CRM sync runs, beside shadow"
    with reads_alone(world):
        answers = asked(world)
    assert answers[line].is_ok, answers[line]
    assert [q for q in answers if "writable" in q] == ["Data folder writable"]
    world.control("marketo", "behaviour", {"native_crm": False})
    answers = asked(world)
    assert (answers[line].is_ok, "DYNSYNC_MODE=live" in answers[line].next_step) == (False, True)
    world.control("marketo", "behaviour", {"native_crm": True})


def test_status_and_its_page_say_that_this_is_shadow(beside: Beside) -> None:
    world = beside.world
    assert "Shadow: both systems are read, and neither is written to." in world.dynsync("status").stdout
    assert json.loads(world.dynsync("status", "--json").stdout)["mode"] == "shadow"
    assert json.loads((world.data_dir / "status.json").read_text("utf-8"))["figures"]["mode"] == "shadow"


def test_the_switch_over_loses_no_edit_of_the_gap(beside: Beside) -> None:
    """Native off, edits in the gap, the last shadow cycle, the audit, live."""
    world, native = beside.world, beside.native
    contact, lead = beside.pair(RecordType.CONTACT, 1), beside.pair(RecordType.LEAD, 1)
    created = person_for(world, RecordType.CONTACT, 5)  # by the native sync
    native.run()
    world.sync()
    world.control("marketo", "behaviour", {"native_crm": False})  # off, and it runs no more
    world.edit_record("contact", contact.record_id, jobtitle="Gap in Dynamics", address1_city="Gap D")
    world.edit_person(contact.person_id, phone="+1 gap", city="Gap M")
    world.edit_record("lead", lead.record_id, jobtitle="Lead D")
    world.edit_person(lead.person_id, title="Lead M")
    new = world.create_record("contact", lastname="Born in the gap", emailaddress1="gap@example.com")
    with reads_alone(world), world.writes_nothing():
        world.sync()
        # Whom the native sync created may be among the new records.
        with pytest.raises(GuardStopped, match="Nobody has decided yet"):
            run_cycle(settings_from(world.environment | LIVE), warehouse=world.warehouse)
    adopt(world, "second.csv")
    with reads_alone(world), world.writes_nothing():
        world.sync()
    assert world.query("select count(*) from audit_findings") == [(0,)]
    with world.writes_nothing():
        plan = planned(settings_from(world.environment | LIVE), read_plan)
    titles = {(o["person_id_marketo"], c["field"]) for o in plan.operations for c in o["changes"]}
    assert {(contact.person_id, "title"), (contact.person_id, "phone"), (lead.person_id, "title")} <= titles
    world.environment["DYNSYNC_MODE"] = "live"
    world.sync()
    assert beside.sides(contact, "title") == ("Gap in Dynamics", "Gap in Dynamics")
    assert beside.sides(contact, "phone") == ("+1 gap", "+1 gap")
    assert beside.sides(contact, "city") == ("Gap D", "Gap D")
    assert beside.sides(lead, "title") == ("Lead M", "Lead M")
    lost = world.query("select field, winner, base_value from collisions where person_id_marketo in (?, ?) order by 1",
                       contact.person_id, lead.person_id)  # fmt: skip
    assert lost == [("city", "dynamics", "P"), ("title", "marketo", "A")]
    bearers = {world.person_of(pair.record_type, pair.record_id): pair for pair in (*beside.pairs, created)}
    assert bearers == {pair.person_id: pair for pair in (*beside.pairs, created)}
    assert world.person_of("contact", new) not in bearers
    assert world.query("select count(*) from sync_errors where code = 'key_altered'") == [(0,)]
    with world.writes_nothing():
        world.sync()
