"""The Marketo fields that belong to the sync itself, by REST name. Not here: the fields that people sync (`field_map.py`).

Their names are settings (`DYNSYNC_MARKETO_FIELD_*`), because an installation may have had such fields before; that of
the company's key is Marketo's own.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPANY_KEY = "externalCompanyId"  # on companies, and on people to say which company is theirs
KEYLESS = "person:"  # and a person's id: what we call the company behind a person to which Marketo gives no key


@dataclass(frozen=True)
class OwnFields:
    """REST names of these fields; all are fields of a person.

    lead_id, contact_id: id of the Dynamics record that the person is linked to. person_type: Lead, Contact or nothing.
    is_deleted: whether that record was deleted in Dynamics (R79). created_on: when it was created there.
    company: the key of the person's company.
    """

    lead_id: str
    contact_id: str
    person_type: str
    is_deleted: str
    created_on: str
    company: str = COMPANY_KEY

    @property
    def types(self) -> dict[str, str]:
        """REST names of these fields, with the type that each must have in Marketo's description of people."""
        ids = dict.fromkeys((self.lead_id, self.contact_id, self.person_type, self.company), "string")
        return ids | {self.is_deleted: "boolean", self.created_on: "datetime"}
