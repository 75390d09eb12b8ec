"""Qualify as Dynamics does it, over HTTP: one person stays one (R95 to R97)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.core import LEAD, CoreWorld

pytestmark = story

OWN = ("dynamicsLeadId", "dynamicsContactId", "dynamicsType", "dynamicsIsDeleted", "externalCompanyId")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    with CoreWorld(tmp_path_factory.mktemp("world"), fields=None, n_contacts=3, n_leads=3) as world:
        yield world


def test_r95_r96_qualified_leads_keep_their_people(world: CoreWorld) -> None:
    (plain, edited, onto), contact = [world.take("lead") for _ in range(3)], world.take("contact")
    born = world.create_person(firstName="Edda", lastName="Born", email="edda@example.com", title="Buyer")
    assert world.dynsync("push", "--person", str(born), "--as", "lead").returncode == 0
    pushed = str(world.person(born, "dynamicsLeadId")["dynamicsLeadId"])
    people = {plain[0]: plain[1], edited[0]: edited[1], pushed: born}
    made = {lead: world.qualify(lead) for lead in people}
    world.edit_record("contact", made[edited[0]]["contact"], telephone1="+41 2")
    world.edit_person(edited[1], title="Head", leadScore=40)
    world.edit_record("lead", onto[0], **{"parentcontactid@odata.bind": f"/contacts({contact[0]})"})
    world.qualify(onto[0], creates=False)
    world.settle()
    for lead, person in people.items():
        ids = made[lead]
        assert world.values(person, *OWN) == (None, ids["contact"], "Contact", False, ids["account"])
        assert world.people("dynamicsLeadId", lead) == []
        assert world.person_of("contact", ids["contact"]) == person
        assert world.query("select record_type, record_id_dynamics from links where person_id_marketo = ?", person) == [
            ("contact", ids["contact"])
        ]
    assert world.columns("contact", made[edited[0]]["contact"], "jobtitle", "telephone1") == ("Head", "+41 2")
    assert world.values(edited[1], "title", "phone") == ("Head", "+41 2")
    assert world.values(born, "firstName", "email") == ("Edda", "edda@example.com")
    assert world.values(plain[1], "company") == (LEAD["companyname"],), "its account's name"
    assert world.values(onto[1], *OWN[:3]) == (onto[0], None, "Lead"), (
        "a merge of two people is for people to decide (R97)"
    )
    assert world.values(contact[1], *OWN[:3]) == (None, contact[0], "Contact")
    assert world.query("select count(*) from sync_errors") == [(0,)]


def test_r98_r99_people_of_merged_records_are_merged_by_the_command_alone(world: CoreWorld) -> None:
    (winner, stays), (loser, goes) = world.take("contact"), world.take("contact")
    world.edit_person(stays, leadScore=30)
    world.edit_person(goes, leadScore=12, mobilePhone="+41 79")
    world.settle()
    world.merge_records("contact", winner, loser)
    world.edit_record("contact", winner, jobtitle="Head")
    world.edit_person(goes, title="Edited")
    world.settle()
    assert world.values(goes, *OWN[1:4], "title") == (loser, "Contact", True, "Edited")
    assert world.values(stays, *OWN[1:4], "title") == (winner, "Contact", False, "Head")
    assert world.columns("contact", loser, "merged", "jobtitle") == (True, "Buyer")
    listed = json.loads(world.dynsync("merge", "--json").stdout)
    # Beside it the lead of the other test, which was qualified onto a contact.
    (proposal,) = [each for each in listed if each["loser_id_marketo"] == goes]
    assert proposal["winner_id_marketo"] == stays
    assert (proposal["winner_id_dynamics"], proposal["loser_id_dynamics"]) == (winner, loser)
    assert (proposal["cause_code"], proposal["state"]) == ("merged_in_dynamics", "open")
    ids = ",".join(str(each["proposal_id"]) for each in listed)
    refused = [world.dynsync("merge", "--apply", given).returncode for given in (ids, f"{ids},99999999")]
    assert refused == [2, 2], "nobody can be asked; no such proposal"
    assert len(world.people("id", f"{stays},{goes}")) == 2
    done = world.dynsync("merge", "--apply", ids, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert [each["is_merged"] for each in json.loads(done.stdout)] == [True] * len(listed)
    world.settle()
    assert world.people("id", str(goes)) == []
    assert world.values(stays, *OWN[:4], "title", "mobilePhone", "leadScore") == (
        None, winner, "Contact", False, "Head", "+41 79", 42,
    )  # fmt: skip
    assert world.columns("contact", winner, "mobilephone", "jobtitle") == ("+41 79", "Head")
    assert "Nobody is proposed" in world.dynsync("merge").stdout
    assert world.query("select count(*) from sync_errors") == [(0,)]
