"""Qualify as Dynamics does it, over HTTP: one person stays one (R95 to R97)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline_tests.worlds.core import LEAD, CoreWorld

OWN = ("dynamicsLeadId", "dynamicsContactId", "dynamicsType", "dynamicsIsDeleted", "externalCompanyId")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    with CoreWorld(tmp_path_factory.mktemp("world"), n_contacts=1, n_leads=4) as world:
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
