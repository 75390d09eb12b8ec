"""A case is one person without a word of theirs, and is decided anywhere as it was where it was packed."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest

from dynsync_pipeline.errors import FieldMapWrong, StorageFailed
from dynsync_pipeline.look.case import Case, decide, map_as_text, pack, read_case, replay
from dynsync_pipeline.look.pseudonyms import Pseudonyms
from dynsync_pipeline.model.field_map import COLUMNS, FieldType, parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map, read_all

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
TEXTS = [f"text{number}" for number in range(24)]
LIKE_OURS = [
    "state",
    "code",
    "name",
    "is_vip",
    "member_since",
    "trusted_at",
]  # fields that are called as columns of ours are
FIELDS = field_map(*SAME_FOR_BOTH_TYPES, *(f"{name},new_{name},text,both,true" for name in (*TEXTS, *LIKE_OURS)))
VALUES = {
    "title": "O'Brien-Ólafsdóttir",
    "phone": "+41 79 555 01 02 ",
    "revenue": "1234.50",
    "employees": "4711",
    "birth": "1984-12-24",
    "seen": "2026-01-02T03:04:05Z",
    "rating": "2",
    "text0": "👩‍🚀 Zoë 🦜🦜",
    "text1": "שרה כהן",
    "text2": "فاطمة الزهراء",
    "text3": "山田太郎",
    "text4": "Василий Петрович",
    "text5": "zoe.nakamura@contoso.example",
    "text6": "Zoë Nakamura",
    "text7": "Zoë Nakamura",
    "text8": "a" * 300,
    **{name: f"Secret {name}" for name in LIKE_OURS},
    "text9": " two  blanks \n and a line ",
}


ID = "8f14e45f-ceea-467f-a0f8-1234567890ab"
Packed = tuple[Case, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def of_both_types() -> dict[RecordType, Packed]:
    """A person of each type in the midst of edits on either side, a collision, an equal edit and a refusal; and their plans."""
    world = MemoryWorld(FIELDS)
    people = {kind: world.link(kind, f"{ID[:-1]}{n}", **VALUES) for n, kind in enumerate((CONTACT, LEAD))}
    world.link(CONTACT, "somebody", title="Somebody Else")
    world.settled()
    for n, (kind, person) in enumerate(people.items()):
        columns = {f.marketo_field: f.dynamics_column for f in FIELDS.of(kind)}
        in_dynamics = {"text0": "Zoë 🦜 rocks", "text1": "דוד", "text2": "Same", "title": None}
        world.dynamics.put(kind, f"{ID[:-1]}{n}", **{columns[name]: value for name, value in in_dynamics.items()})
        world.marketo.put(person, text1="יעקב", text2="Same", text3="花子", rating="No such label", revenue="99.95")
    with world.opened() as cycle:
        read_all(cycle)
        with world.warehouse.reading() as connection:
            cases = {
                kind: pack(connection, cycle.prepare(), world.settings.own_fields, person, world.warehouse.now())
                for kind, person in people.items()
            }
        cycle.reconcile()
    planned = (
        "select c.field, c.rule_code from reconcile.planned_changes c join reconcile.operations o using (operation_id) "
        "where o.person_id = ? order by all"
    )
    return {kind: (cases[kind], world.rows(planned, person)) for kind, person in people.items()}


@pytest.fixture(params=[CONTACT, LEAD])
def packed(request: pytest.FixtureRequest, of_both_types: dict[RecordType, Packed]) -> Packed:
    return of_both_types[request.param]


def test_no_word_of_the_person_is_in_the_file(packed: Packed) -> None:
    text = packed[0].to_json()
    words = {
        word
        for value in VALUES.values()
        for word in (value, *re.findall(r"[^\W\d_]{5,}|\d{5,}", value))
        if len(word) > 3
    }
    words |= {"Zoë 🦜 rocks", "rocks", "יעקב", "No such label", "8f14e45f", "👩‍🚀", "somebody", "Somebody"}
    words -= {"2", *LIKE_OURS, *re.findall(r"[^\W\d_]+", " ".join(LIKE_OURS))}  # names of fields
    assert [word for word in words if word in text] == []


def test_lengths_blanks_scripts_and_equalities_are_kept(packed: Packed) -> None:
    ((person,),) = [packed[0].tables["mirror.marketo_people"]]
    for name, value in VALUES.items():
        if name.startswith("text") and name not in ("text1", "text2", "text3"):
            assert len(person[name]) == len(value), name
            assert [c for c in person[name] if c.isspace()] == [c for c in value if c.isspace()], name
    assert re.search("[א-ת]", person["text1"]) and re.search("[А-я]", person["text4"])
    assert person["text6"] == person["text7"] != person["text0"]
    assert person["employees"].isdigit() and len(person["employees"]) == 4


def test_it_is_decided_as_the_plan_decides_it_and_again_from_the_file(
    packed: Packed,
) -> None:
    case, plan = packed
    written = sorted((row["field"], row["code"]) for row in case.outcome if row["what"] == "write")
    assert written == plan
    assert {row["field"] for row in case.outcome if row["what"] == "collision"} == {"text1"}
    assert [(row["field"], row["code"]) for row in case.outcome if row["what"] == "waiting"] == [
        ("rating", "unknown_option")
    ]
    assert case.otherwise == []
    again = read_case(case.to_json())
    assert decide(again) == again.outcome == case.outcome


def test_another_version_of_the_format_and_what_is_no_case_say_so(packed: Packed) -> None:
    told = json.loads(packed[0].to_json())
    told["versions"]["case"] = 99
    for text in (json.dumps(told), "{}", "", "[1]", "null", packed[0].to_json()[:-100]):
        with pytest.raises(StorageFailed):
            read_case(text)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (FieldType.TEXT, ["a", "b", "c", "Ann", "ann", "", "—", "🦜", "x" * 300]),
        (FieldType.INTEGER, ["0", "1", "-42", "1000000", "no number"]),
        (FieldType.DECIMAL, ["0", "0.5", "-1.25", "99.95"]),
        (FieldType.DATE, ["1984-12-24", "1752-01-01", "not a day"]),
        (FieldType.DATETIME, ["2026-01-02T00:00:00Z", "2026-01-02T03:04:05Z"]),
        (FieldType.BOOLEAN, ["true", "false", "perhaps"]),
    ],
)
def test_unequal_values_stay_unequal_and_keep_their_form(kind: FieldType, texts: list[str]) -> None:
    names = Pseudonyms()
    given = [names.of(text, kind) for text in texts]
    assert [names.of(text, kind) for text in texts] == given
    assert len(set(given)) == len(texts)
    assert [len(text) for text in given] == [len(text) for text in texts]
    assert Pseudonyms().of("Ann") != "Ann"


def test_what_differs_in_its_cases_alone_does_so_still() -> None:
    names = Pseudonyms()
    for one, other in (
        ("Ann.Lee@Contoso.Example", "ann.lee@contoso.example"),
        ("ÅNGSTRÖM", "ångström"),
        (ID.upper(), ID),
    ):
        assert names.of(one) != names.of(other)
        assert names.of(one).lower() == names.of(other).lower() != one.lower()


def test_a_name_of_a_large_script_may_be_any_of_it_and_its_marks_are_hidden() -> None:
    """Of 128 neighbours one alone is a common name of Korea, or of China; and marks are vowels in India."""
    given = [Pseudonyms().of("김王") for _ in range(20)]
    assert len({name[0] for name in given}) > 10 and len({ord(name[0]) // 128 for name in given}) > 10
    assert len({ord(name[1]) // 128 for name in given}) > 10
    assert all("가" <= name[0] <= "힣" and "一" <= name[1] <= "鿿" for name in given)
    vowels = {
        tuple(sign for sign in Pseudonyms().of("प्रिया") if unicodedata.category(sign)[0] == "M") for _ in range(9)
    }
    assert len(vowels) > 3


OF_RECORDS = field_map(
    *("changed,modifiedon,datetime,to_marketo,true", "code,new_code,text,both,true", "sum,new_sum,decimal,both,true"),
    *("rank,new_rank,choice,both,true", "new_score,new_level,text,both,true", "points,new_score,choice,both,true"),
)
SCENES = ("rounded", "cases", "own", "unread", "phone", "names")


@pytest.fixture(scope="module")
def of_scenes() -> tuple[dict[str, Case], dict[str, list[tuple[Any, ...]]]]:
    """People whom the rules judge by what stands beside the values: places, cases, own fields, what cannot be read; and plans."""
    world = MemoryWorld(OF_RECORDS)
    world.dynamics.places = {"new_sum": 2}
    ids = {scene: f"{ID[:-1]}{n}" for n, scene in enumerate(SCENES)}
    values = {"code": ID, "sum": "2.5", "rank": "1", "new_score": "2026", "points": "2"}
    people = {scene: world.link(CONTACT, ids[scene], **values) for scene in SCENES}
    world.settled()
    world.marketo.put(people["rounded"], sum="2.504")
    world.marketo.put(people["cases"], code=ID.upper())
    own = world.settings.own_fields
    world.marketo.put(people["own"], **{own.person_type: None, own.created_on: None})
    world.dynamics.put(CONTACT, ids["unread"], new_code="unseen")
    world.dynamics.unreadable[ids["unread"]] = "new_code"
    world.marketo.put(people["unread"], code="seen")
    world.marketo.put(people["phone"], rank="0041795550102")
    world.marketo.put(people["names"], new_score="1984")
    with world.opened() as cycle:
        read_all(cycle)
        with world.warehouse.reading() as connection:
            fields, now = cycle.prepare(), world.warehouse.now()
            cases = {scene: pack(connection, fields, own, person, now) for scene, person in people.items()}
        cycle.reconcile()
    planned = (
        "select c.field, c.rule_code from reconcile.planned_changes c join reconcile.operations o using (operation_id) "
        "where o.person_id = ? order by all"
    )
    return cases, {scene: world.rows(planned, person) for scene, person in people.items()}


@pytest.mark.parametrize("scene", SCENES)
def test_what_the_rules_judge_by_beside_the_values_is_in_the_case(scene: str, of_scenes: Any) -> None:
    case, plan = of_scenes[0][scene], of_scenes[1][scene]
    assert case.otherwise == []
    assert sorted((row["field"], row["code"]) for row in case.outcome if row["what"] == "write") == plan
    assert bool(plan) == (scene in ("cases", "own", "names"))


def test_digits_that_are_no_option_and_columns_that_are_called_like_a_field_are_hidden(of_scenes: Any) -> None:
    assert "0041795550102" not in of_scenes[0]["phone"].to_json()
    assert '"2026"' not in of_scenes[0]["names"].to_json() and '"1984"' not in of_scenes[0]["names"].to_json()


@pytest.mark.parametrize(
    "spoilt",
    [
        {"tables": {"state.links": [{"person_id": "no number", "record_type": "contact"}]}},
        {"tables": {"state.no_such_table": [{"a": "b"}]}},
        {"tables": {"state.links; drop table x": [{"a": "b"}]}},
        {"tables": [1]},
        {"tables": {"state.links": [{"person_id": 7}]}},
        {"own_fields": ["one"]},
        {"decided_at": "yesterday"},
        {"outcome": "none"},
        {"versions": 1},
        {"field_map": ["no map"]},
    ],
)
def test_a_case_that_was_edited_by_hand_is_refused_in_a_sentence(packed: Packed, spoilt: dict[str, Any]) -> None:
    with pytest.raises((StorageFailed, FieldMapWrong)) as refused:
        replay(read_case(json.dumps(json.loads(packed[0].to_json()) | spoilt)))
    assert "case" in str(refused.value)


RULES = ("", "dynamics", "marketo", "newest", "restrictive:true", "restrictive:false", "review")


def test_the_field_map_of_a_case_keeps_every_rule_of_its_fields(packed: Packed) -> None:
    lines = "".join(f"contact,f{n},new_f{n},boolean,both,true,{rule}\n" for n, rule in enumerate(RULES))
    fields = parse_field_map(f"{','.join(COLUMNS)}\n{lines}", "test.csv")
    assert parse_field_map(map_as_text(fields), "test.csv") == fields
    assert parse_field_map(packed[0].field_map, "case.csv").fields == FIELDS.fields
