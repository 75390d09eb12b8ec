"""Definitions of a table put together from its answers, one of them for each kind of column."""

from __future__ import annotations

import json

import msgspec
import pytest

from dynsync_pipeline.clients.dynamics.metadata import column_queries, table_metadata
from dynsync_pipeline_tests.reading.poison import POISON

TABLE = b'{"LogicalName":"contact","EntitySetName":"contacts","ChangeTrackingEnabled":true}'


def attribute(name: str, kind: str, **more: object) -> dict[str, object]:
    valid = {"IsValidForRead": True, "IsValidForCreate": True, "IsValidForUpdate": True, "IsSecured": False}
    return {"MetadataId": "m", "LogicalName": name, "AttributeType": kind, **valid, **more}


def labels(value: int, of_user: str | None, *localized: str) -> dict[str, object]:
    return {
        "Value": value,
        "Label": {
            "LocalizedLabels": [{"Label": text, "LanguageCode": 1033} for text in localized],
            "UserLocalizedLabel": {"Label": of_user, "LanguageCode": 1033} if of_user else None,
        },
    }


def answers(**by_kind: list[dict[str, object]]) -> tuple[bytes, ...]:
    """One answer per query; an empty one for each kind that is not given."""
    found = []
    for query in column_queries("contact"):
        kind = query.partition("CRM.")[2].partition("AttributeMetadata")[0] or "All"
        found.append(json.dumps({"value": by_kind.get(kind, [])}).encode())
    return tuple(found)


def test_columns_carry_length_precision_options_and_what_may_be_done_with_them() -> None:
    found = table_metadata(
        TABLE,
        answers(
            All=[
                attribute("jobtitle", "String"),
                attribute("annualincome", "Money", IsSecured=True),
                attribute("createdon", "DateTime", IsValidForUpdate=False, IsValidForCreate=False),
                attribute("leadsourcecode", "Picklist"),
                attribute("industrycode", "Picklist"),
                attribute("new_topics", "Virtual", AttributeTypeName={"Value": "MultiSelectPicklistType"}),
                attribute("entityimage", "Virtual", AttributeTypeName={"Value": "ImageType"}),
                attribute("statecode", "State"),
                attribute("parentcustomerid", "Customer"),
            ],
            String=[{"LogicalName": "jobtitle", "MaxLength": 100}],
            Money=[{"LogicalName": "annualincome", "Precision": 2, "PrecisionSource": 0}],
            DateTime=[{"LogicalName": "createdon", "DateTimeBehavior": {"Value": "UserLocal"}}],
            Picklist=[
                {
                    "LogicalName": "leadsourcecode",
                    "OptionSet": {"Options": [labels(1, "Werbung", "Advertisement"), labels(2, None, "Partner")]},
                },
                {
                    "LogicalName": "industrycode",
                    "OptionSet": None,
                    "GlobalOptionSet": {"Options": [labels(7, "Bergbau"), labels(8, None)]},
                },
            ],
            MultiSelectPicklist=[
                {
                    "LogicalName": "new_topics",
                    "OptionSet": None,
                    "GlobalOptionSet": {"Options": [labels(1, "Events"), labels(2, "Papers")]},
                }
            ],
            State=[{"LogicalName": "statecode", "OptionSet": {"Options": [labels(0, "Active")]}}],
        ),
    )
    assert (found.entity_set, found.is_change_tracked) == ("contacts", True)
    columns = found.columns
    assert columns["jobtitle"].max_length == 100
    assert (columns["annualincome"].precision, columns["annualincome"].is_secured) == (2, True)
    assert (columns["createdon"].is_readable, columns["createdon"].is_updatable) == (True, False)
    assert columns["createdon"].time_behavior == "UserLocal"
    assert columns["leadsourcecode"].options == {1: "Werbung", 2: "Partner"}
    assert columns["industrycode"].options == {7: "Bergbau", 8: "8"}
    assert columns["statecode"].options == {0: "Active"}
    assert columns["new_topics"].attribute_type == "MultiSelectPicklist", "which the older name of the type hides (R29)"
    assert columns["new_topics"].options == {1: "Events", 2: "Papers"}
    assert columns["jobtitle"].options == {}
    assert columns["_parentcustomerid_value"] is columns["parentcustomerid"]


def test_an_amount_whose_places_are_its_currencys_may_have_the_most_there_are() -> None:
    """Fewer than it really has would hide edits; where it has fewer, what it keeps is settled when it is read back."""
    money = [{"LogicalName": "revenue", "Precision": 2, "PrecisionSource": 2}]
    found = table_metadata(TABLE, answers(All=[attribute("revenue", "Money")], Money=money))
    assert found.columns["revenue"].precision == 4


def test_half_an_answer_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        table_metadata(TABLE[:-5], answers())


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_column_whose_definition_cannot_be_read_is_left_out_alone(poison: bytes) -> None:
    plain = [attribute(name, "Picklist") for name in ("leadsourcecode", "industrycode")]
    options: list[dict[str, object]] = [
        {"LogicalName": name, "OptionSet": {"Options": [labels(1, label)]}}
        for name, label in (("leadsourcecode", "MARK"), ("industrycode", "Fine"))
    ]
    definition, *columns = answers(All=plain, Picklist=options)
    columns = [body.replace(b'"MARK"', poison) for body in columns]
    found = table_metadata(TABLE, (definition, *columns))
    assert {name: column.options for name, column in found.columns.items()} == {"industrycode": {1: "Fine"}}
