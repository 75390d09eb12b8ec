"""`RetrieveMetadataChanges`: definitions by one JSON query, and which tables changed since."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse, error


def condition(name: str, value: object, operator: str = "Equals", kind: str = "System.String") -> dict[str, Any]:
    """One MetadataConditionExpression."""
    return {"PropertyName": name, "ConditionOperator": operator, "Value": {"Type": kind, "Value": value}}


QUERY: dict[str, Any] = {
    "Properties": {"AllProperties": False, "PropertyNames": ["SchemaName", "Attributes"]},
    "Criteria": {
        "FilterOperator": "Or",
        "Conditions": [condition("LogicalName", "account"), condition("LogicalName", "contact")],
    },
    "AttributeQuery": {
        "Properties": {"AllProperties": False, "PropertyNames": ["MaxLength"]},
        "Criteria": {
            "FilterOperator": "And",
            "Conditions": [
                condition("IsValidForCreate", "True", kind="System.Boolean"),
                condition("AttributeTypeName", "StringType", kind="x.AttributeTypeDisplayName"),
                condition("LogicalName", "['name','jobtitle']", "In", "System.String[]"),
            ],
        },
    },
    "LabelQuery": {"FilterLanguages": [1033], "MissingLabelBehavior": 0},
}


def asked(dataverse: Dataverse, query: object, **more: str) -> dict[str, Any]:
    """The answer to a query, its stamp in quotes as an alias."""
    names = "".join(f",{name}=@{name}" for name in more)
    aliases = {f"@{name}": f"'{value}'" for name, value in more.items()}
    answer = dataverse.http.get(
        f"RetrieveMetadataChanges(Query=@p1{names})", params={"@p1": json.dumps(query), **aliases}
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_query_chooses_tables_columns_and_properties(dataverse: Dataverse) -> None:
    answer = asked(dataverse, QUERY)
    assert answer["@odata.context"].endswith("$metadata#Microsoft.Dynamics.CRM.RetrieveMetadataChangesResponse")
    assert answer["DeletedMetadata"] == {"Count": 0, "IsReadOnly": False, "Keys": [], "Values": []}
    tables = {one["LogicalName"]: one for one in answer["EntityMetadata"]}
    assert set(tables) == {"account", "contact"}
    assert set(tables["contact"]) == {"LogicalName", "SchemaName", "MetadataId", "HasChanged", "Attributes"}
    (jobtitle,) = tables["contact"]["Attributes"]
    assert jobtitle["@odata.type"] == "#Microsoft.Dynamics.CRM.ComplexStringAttributeMetadata"
    assert (jobtitle["LogicalName"], jobtitle["MaxLength"], jobtitle["HasChanged"]) == ("jobtitle", 100, None)
    assert [one["LogicalName"] for one in tables["account"]["Attributes"]] == ["name"]
    other = {"Criteria": {"Conditions": [condition("LogicalName", "['contact']", "NotIn")]}}
    assert "contact" not in {one["LogicalName"] for one in asked(dataverse, other)["EntityMetadata"]}


def test_a_stamp_brings_the_tables_that_changed_since(dataverse: Dataverse) -> None:
    stamp = dataverse.row("RetrieveMetadataChanges")["ServerVersionStamp"]
    assert asked(dataverse, {}, ClientVersionStamp=stamp)["EntityMetadata"] == []
    control = f"{dataverse.url}/emulator/dataverse/schema"
    column = {"action": "add", "table": "lead", "column": "new_late", "kind": "text"}
    assert dataverse.http.post(control, json=column).status_code < 300
    (changed,) = asked(dataverse, {}, ClientVersionStamp=stamp)["EntityMetadata"]
    assert (changed["LogicalName"], changed["HasChanged"]) == ("lead", True)
    assert error(dataverse.http.get("RetrieveMetadataChanges(ClientVersionStamp='1!01/01/2020 00:00:00')")) == (
        400,
        "0x80044352",
    )


@pytest.mark.parametrize(
    "query",
    ["{nope", "5", '{"Criteria":5}', '{"Criteria":{"Conditions":[{}]}}', '{"Properties":{"PropertyNames":5}}',
     '{"Criteria":{"Conditions":[{"PropertyName":"LogicalName","ConditionOperator":"Like","Value":{"Value":"a"}}]}}'],
)  # fmt: skip
def test_a_query_that_is_none_is_refused(dataverse: Dataverse, query: str) -> None:
    assert error(dataverse.http.get("RetrieveMetadataChanges(Query=@q)", params={"@q": query}))[0] == 400
