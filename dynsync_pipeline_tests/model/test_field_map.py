"""The field map: what a good file gives, and one sentence with file, line and column for every kind of broken line."""

from __future__ import annotations

import csv
import io
from importlib.resources import files
from pathlib import Path

import pytest

from dynsync_pipeline.errors import FieldMapWrong
from dynsync_pipeline.model.field_map import (
    COLUMNS,
    Direction,
    FieldType,
    default_map_text,
    load_field_map,
    parse_field_map,
)
from dynsync_pipeline.model.own_fields import OwnFields
from dynsync_pipeline.model.proposed_map import propose_map
from dynsync_pipeline.model.records import TABLES, RecordType

HEADER = ",".join(COLUMNS)
GOOD = "lead,title,jobtitle,text,both,true"


def parsed(*lines: str, header: str = HEADER) -> object:
    return parse_field_map("\n".join([header, *lines, ""]), "map.csv")


BROKEN = {
    "an unknown record type": ("leed,title,jobtitle,text,both,true", "record_type", "'leed'"),
    "an unknown type": ("lead,title,jobtitle,string,both,true", "type", "'string'"),
    "an unknown direction": ("lead,title,jobtitle,text,up,true", "direction", "'up'"),
    "an unknown truth": ("lead,fax,fax,text,both,yes", "enabled", "'yes'"),
    "an empty Marketo name": ("lead,,jobtitle,text,both,true", "marketo_field", "''"),
    "a Marketo label": ("lead,Job Title,jobtitle,text,both,true", "marketo_field", "'Job Title'"),
    "an empty Dynamics name": ("lead,title,,text,both,true", "dynamics_column", "''"),
    "a Dynamics display name": ("lead,title,JobTitle,text,both,true", "dynamics_column", "'JobTitle'"),
    "an account upwards": ("account,company,name,text,both,true", "direction", "account"),
    "a state upwards": ("lead,leadStatus,statecode,choice,both,true", "direction", "statecode"),
    "the key": ("lead,leadKey,leadid,text,to_marketo,true", "dynamics_column", "key"),
    "a repeated Marketo field": ("lead,phone,telephone2,text,both,true", "marketo_field", "phone"),
    "two writers of one column": ("lead,phone2,telephone1,text,both,true", "dynamics_column", "telephone1"),
    "another type elsewhere": ("contact,phone,telephone1,integer,both,true", "type", "phone"),
}


COLLIDES = "lead,title,jobtitle,text,both,true,"
CONSENTS = "lead,mayCall,new_maycall,boolean,both,true,"
WRONG_RULES = {
    "an unknown rule": ("lead,fax,fax,text,both,true,oldest", "collision", "'oldest'"),
    "the original's rule by name": ("lead,fax,fax,text,both,true,original", "collision", "'original'"),
    "a rule for one way": ("lead,fax,fax,text,to_marketo,true,newest", "collision", "to_marketo"),
    "restrictive without a value": ("lead,fax,fax,boolean,both,true,restrictive", "collision", "'restrictive'"),
    "restrictive with another value": ("lead,fax,fax,boolean,both,true,restrictive:no", "collision", "restrictive:no"),
    "restrictive on a text": ("lead,fax,fax,text,both,true,restrictive:true", "collision", "text"),
    "a value after another rule": ("lead,fax,fax,text,both,true,newest:true", "collision", "newest:true"),
    "a colon after another rule": ("lead,fax,fax,text,both,true,newest:", "collision", "newest:"),
    "never_clear on a boolean": ("lead,fax,fax,boolean,both,true,never_clear", "collision", "boolean"),
}
BROKEN |= WRONG_RULES


def test_a_map_says_who_wins_and_may_leave_the_column_out() -> None:
    fields = parse_field_map(f"{HEADER}\n{COLLIDES}review\n{CONSENTS}restrictive:false\n", "map.csv").fields
    assert [(field.collision, field.forbids) for field in fields] == [("review", None), ("restrictive", "false")]
    old = parse_field_map(f"{','.join(COLUMNS[:-1])}\n{GOOD}\n", "map.csv").fields
    short = parse_field_map(f"{HEADER}\n{GOOD}\n", "map.csv").fields
    assert old == short == parse_field_map(f"{HEADER}\n{GOOD},\n", "map.csv").fields
    assert (old[0].collision, old[0].forbids) == ("original", None)


@pytest.mark.parametrize(("line", "column", "word"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_told_by_file_line_and_column(line: str, column: str, word: str) -> None:
    with pytest.raises(FieldMapWrong) as caught:
        parsed(GOOD, "lead,phone,telephone1,text,both,true", line)
    text = str(caught.value)
    assert text.startswith("map.csv, line 4"), text
    assert f"{column}:" in text
    assert word in text
    assert "\n" not in text
    assert caught.value.next_step


@pytest.mark.parametrize("line", ["lead,title,jobtitle,text,both", "lead,title,jobtitle,text,both,true,,more", "lead"])
def test_a_line_with_another_number_of_values_is_told(line: str) -> None:
    with pytest.raises(FieldMapWrong, match=r"^map\.csv, line 3: .*columns"):
        parsed(GOOD, line)


@pytest.mark.parametrize(
    "header", ["", "record_type,marketo_field", HEADER.replace("type", "kind", 1), f"{HEADER},note"]
)
def test_another_header_is_told_with_the_right_one(header: str) -> None:
    with pytest.raises(FieldMapWrong, match="record_type, marketo_field, dynamics_column, type, direction, enabled"):
        parsed(GOOD, header=header)


@pytest.mark.parametrize("lines", [[], ["lead,title,jobtitle,text,both,false"]])
def test_a_map_that_syncs_nothing_is_refused(lines: list[str]) -> None:
    with pytest.raises(FieldMapWrong, match=r"map\.csv.*enabled"):
        parsed(*lines)


@pytest.mark.parametrize(
    "name", ["id", "person_id", "is_deleted", "landing", "dynamics_lead_id", "record_type", "RowID"]
)
def test_a_marketo_name_that_the_tables_need_for_themselves_is_refused(name: str) -> None:
    with pytest.raises(FieldMapWrong, match=r"^map\.csv, line 2, marketo_field:"):
        parsed(f"lead,{name},jobtitle,text,both,true")


@pytest.mark.parametrize("name", ["etag", "is_deleted", "landing", "rowid"])
def test_a_dynamics_name_that_the_tables_need_for_themselves_is_refused(name: str) -> None:
    with pytest.raises(FieldMapWrong, match=r"^map\.csv, line 2, dynamics_column:"):
        parsed(f"lead,title,{name},text,both,true")


def test_two_marketo_names_that_differ_only_in_case_are_refused() -> None:
    """They would be one column in the warehouse."""
    with pytest.raises(FieldMapWrong, match=r"^map\.csv, line 3, marketo_field:"):
        parsed(GOOD, "contact,Title,jobtitle,text,both,true")


def test_a_good_map_keeps_order_and_leaves_disabled_lines_out() -> None:
    fields = parse_field_map(
        f"{HEADER}\n{GOOD}\nlead,x,y,text,both,false\n contact , title , jobtitle ,text,both,true\n", "m"
    )
    assert [(f.record_type, f.marketo_field) for f in fields.fields] == [("lead", "title"), ("contact", "title")]
    assert [f.record_type for f in fields.of(RecordType.CONTACT)] == [RecordType.CONTACT]
    assert fields.person_fields == {"title": FieldType.TEXT}


def test_two_marketo_fields_may_show_one_column() -> None:
    """R129: one of them only downwards."""
    fields = parse_field_map(f"{HEADER}\n{GOOD}\nlead,title2,jobtitle,text,to_marketo,true\n", "m")
    assert len(fields.fields) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FieldMapWrong, match=r"gone\.csv"):
        load_field_map(tmp_path / "gone.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"record_type,\xfc\n")
    with pytest.raises(FieldMapWrong, match=r"latin\.csv .* no UTF-8 text. Save it as UTF-8"):
        load_field_map(latin)
    with pytest.raises(FieldMapWrong, match=r"it is a folder\. Name a CSV in DYNSYNC_FIELD_MAP"):
        load_field_map(tmp_path)


@pytest.mark.parametrize("text", ["\0" * 300_000, f"{HEADER}\n{'x' * 300_000}\n", HEADER.replace(",", ";"), "x" * 5000])
def test_a_file_that_is_no_field_map_is_told_shortly(text: str) -> None:
    with pytest.raises(FieldMapWrong, match=r"^map\.csv, line \d.*separated by commas") as caught:
        parse_field_map(text, "map.csv")
    assert len(str(caught.value)) < 500


def test_a_file_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """With a byte-order mark and carriage returns."""
    file = tmp_path / "map.csv"
    file.write_bytes(("\ufeff" + HEADER + "\r\n" + GOOD + "\r\n").encode())
    assert load_field_map(file).fields[0].dynamics_column == "jobtitle"


def test_the_default_map_has_the_directions_of_the_rules() -> None:
    """Accounts only downwards (R51); state never upwards (R130); scores only upwards (R44); both types bidirectional."""
    fields = load_field_map().fields
    assert {f.record_type for f in fields} == set(TABLES)
    for field in fields:
        if field.record_type is RecordType.ACCOUNT or field.dynamics_column in ("statecode", "createdon"):
            assert field.direction is Direction.TO_MARKETO
        elif field.dynamics_column.startswith("mkt_"):
            assert field.direction is Direction.TO_DYNAMICS
        else:
            assert field.direction is Direction.BOTH


def test_r30_a_leads_and_a_contacts_column_feed_the_field_that_the_map_names() -> None:
    """Two columns whose labels nobody asked for: the names of the map alone join them."""
    fields = parse_field_map(
        "\n".join([HEADER, "lead,title,new_role,text,both,true", "contact,title,jobtitle,text,both,true", ""]),
        "map.csv",
    )
    assert fields.linked_fields == {"title": FieldType.TEXT}
    assert {(f.record_type, f.dynamics_column) for f in fields.fields} == {
        (RecordType.LEAD, "new_role"),
        (RecordType.CONTACT, "jobtitle"),
    }


def test_r64_the_company_fields_are_those_of_the_account_lines() -> None:
    fields = parse_field_map(
        "\n".join(
            [HEADER, "account,rating,new_rating,text,to_marketo,true", "lead,company,companyname,text,both,true", ""]
        ),
        "map.csv",
    )
    assert fields.company_fields == {"rating": FieldType.TEXT}
    assert fields.person_fields == {"company": FieldType.TEXT}


def test_r129_the_default_map_fills_the_gaps_of_the_vendors_list() -> None:
    named = {(f.record_type, f.marketo_field, f.dynamics_column) for f in load_field_map().fields}
    assert (RecordType.ACCOUNT, "billingState", "address1_stateorprovince") in named
    assert (RecordType.ACCOUNT, "website", "websiteurl") in named
    assert (RecordType.LEAD, "leadScore", "mkt_leadscore") in named


def lines_of_the_default_map() -> list[dict[str, str]]:
    text = files("dynsync_pipeline.model").joinpath("default_field_map.csv").read_text("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


UNNAMED = {  # what the vendor's page maps and calls by a label alone
    "account": {"address1_line2", "address1_line3", "businesstypecode", "accountnumber", "statecode"},
    "contact": {"statuscode", "address1_line2", "address1_line3", "donotemail", "donotfax", "donotsendmm", "telephone2"}
    | {"preferredcontactmethodcode"},
    "lead": {"statuscode", "address1_line2", "address1_line3", "donotemail", "donotfax", "donotsendmm", "telephone2"}
    | {"preferredcontactmethodcode", "subject"},
}


def test_r30_the_default_map_has_every_row_of_the_vendor_and_enables_those_with_a_rest_name() -> None:
    lines = lines_of_the_default_map()
    off = {(line["record_type"], line["dynamics_column"]) for line in lines if line["enabled"] == "false"}
    assert off == {(record_type, column) for record_type, columns in UNNAMED.items() for column in columns}
    on = {(f.record_type.value, f.marketo_field, f.dynamics_column) for f in load_field_map().fields}
    assert len(on) == sum(line["enabled"] == "true" for line in lines)
    moments = {("Date", "date"), ("Desc", "desc"), ("Type", "type")}
    for record_type in ("contact", "lead"):
        for name, column in moments:
            assert (record_type, f"msiLastInterestingMoment{name}", f"mkt_lastinterestingmoment{column}") in on
        assert (record_type, "msiLastInterestingMomentSource", "mkt_leadinterestingmomentsource") in on
        assert (record_type, "relativeUrgency", "mkt_urgency") in on
    own = {"billingState", "dateOfBirth"}  # and the score of leads (R129)
    assert len(lines) - sum(line["marketo_field"] in own for line in lines) - 1 == 89


def test_r129_the_second_field_on_one_column_goes_to_marketo_alone() -> None:
    lines = [line for line in lines_of_the_default_map() if line["dynamics_column"] == "subject"]
    assert [(line["marketo_field"], line["direction"]) for line in lines] == [
        ("Microsoft Topic", "both"),
        ("Subject", "to_marketo"),
    ]


def test_r132_the_default_map_has_the_five_fields_of_consent_both_ways() -> None:
    consent = {"donotphone", "donotbulkemail", "donotemail", "donotfax", "donotsendmm"}
    lines = [line for line in lines_of_the_default_map() if line["dynamics_column"] in consent]
    assert len(lines) == 2 * len(consent)
    assert {line["direction"] for line in lines} == {"both"}


def test_a_line_that_is_off_may_bear_a_label_until_somebody_knows_the_name() -> None:
    """R30: a cycle uses names only."""
    off = "lead,Microsoft Do Not Email,donotemail,boolean,both,false"
    assert [f.marketo_field for f in parse_field_map(f"{HEADER}\n{GOOD}\n{off}\n", "m").fields] == ["title"]
    with pytest.raises(FieldMapWrong, match=r"line 3, marketo_field: 'Microsoft Do Not Email'.*--propose-map"):
        parsed(GOOD, off.replace("false", "true"))
    with pytest.raises(FieldMapWrong, match=r"line 3, type:"):
        parsed(GOOD, off.replace("boolean", "bool"))


MADE_FOR = {"Microsoft Do Not Email": ["msDoNotEmail"], "Fax Number": ["fax"], "Twice": ["one", "two"]}


def test_names_are_proposed_by_label_and_left_off_for_a_person_to_accept() -> None:
    own = f"""{HEADER}
{GOOD}
lead, microsoft  do not EMAIL ,donotemail,boolean,both,false
lead,Twice,new_twice,text,both,false
lead,known,new_known,text,both,false
"""
    labels = {**MADE_FOR, "Known": ["known"], "Job Title": ["title"]}
    proposed = propose_map(own, default_map_text(), labels)
    lines = proposed.text.splitlines()
    assert lines[:5] == [
        HEADER,
        f"{GOOD},",
        "lead,msDoNotEmail,donotemail,boolean,both,false,",
        "lead,Twice,new_twice,text,both,false,",
        "lead,known,new_known,text,both,false,",
    ]
    assert "contact,msDoNotEmail,donotemail,boolean,both,false," in lines, "a row of the package that the own map lacks"
    assert not any(line.endswith(",true,") for line in lines[2:])
    assert proposed.named == [
        "lead: microsoft  do not EMAIL → msDoNotEmail",
        "contact: Microsoft Do Not Email → msDoNotEmail",
    ]
    assert proposed.ambiguous == ["lead: Twice (one, two)"]
    assert parse_field_map(proposed.text, "proposed").fields == parse_field_map(own, "own").fields


def test_a_name_that_another_line_has_is_not_proposed_again() -> None:
    own = f"{HEADER}\nlead,fax,fax,text,both,true\nlead,Fax Number,new_fax,text,both,false\n"
    assert "lead,Fax Number,new_fax,text,both,false" in propose_map(own, HEADER, MADE_FOR).text


def test_what_is_proposed_can_be_accepted_as_a_whole() -> None:
    labels = {line["marketo_field"]: [f"new_{n}"] for n, line in enumerate(lines_of_the_default_map())}
    accepted = propose_map(default_map_text(), default_map_text(), labels).text.replace(",false", ",true")
    assert len(parse_field_map(accepted, "accepted").fields) == len(lines_of_the_default_map())


@pytest.mark.parametrize("name", ["dynamicsContactId", "dynamicsIsDeleted", "DYNAMICSCREATEDON", "mine"])
def test_a_field_of_the_sync_itself_cannot_be_mapped(name: str) -> None:
    own = OwnFields("dynamicsLeadId", "dynamicsContactId", "mine", "dynamicsIsDeleted", "dynamicsCreatedOn")
    with pytest.raises(FieldMapWrong, match=r"map.csv, line 2, marketo_field: .* the sync itself writes"):
        parse_field_map(f"{HEADER}\ncontact,{name},fax,text,both,true\n", "map.csv", own)
