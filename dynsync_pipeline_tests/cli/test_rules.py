"""`dynsync rules`: cases of the rules as data, and a changed field map that fails them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynsync_pipeline.errors import FieldMapWrong
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.model.rule_cases import OUTCOMES, RuleCase, default_cases_text, parse_cases
from dynsync_pipeline.reconcile.rule_tests import failing_cases
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse
from dynsync_pipeline_tests.cli.conftest import Run
from dynsync_pipeline_tests.oracles.three_way_merge import Outcome, Rule, Seen, outcomes
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.cases import CASES
from dynsync_pipeline_tests.worlds.every_type import line_of
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

pytestmark = story

HEADER = "record_type,field,base,dynamics,marketo,outcome"
MAP = (
    "record_type,marketo_field,dynamics_column,type,direction,enabled,collision\n"
    "lead,title,jobtitle,text,both,true,newest\n"
    "lead,city,address1_city,text,both,true,review\n"
    "lead,doNotCall,donotphone,boolean,both,true,restrictive:false\n"
)
OWN = (
    f"{HEADER.replace('outcome', 'later,outcome')}\n"
    "lead,title,A,B,C,dynamics,dynamics_wins\n"
    "lead,title,A,B,C,marketo,marketo_wins\n"
    "lead,title,A,B,C,,marketo_wins\n"
    "lead,city,A,B,C,,review\n"
    "lead,city,A,B,A,,to_marketo\n"
    "lead,doNotCall,(none),,1,,dynamics_wins\n"
    "lead,doNotCall,0,,1,,to_dynamics\n"
)


def test_the_cases_of_the_package_are_the_worked_cases_and_come_out_as_written() -> None:
    """By the statement of the cycle, and by the oracle, which was written from the text of the rules alone."""
    cases = parse_cases(default_cases_text(), "cases")
    with Warehouse(IN_MEMORY) as empty, empty.transaction() as connection:
        assert failing_cases(connection, cases, load_field_map()) == []
    known = {(case.record_type, case.field, case.base, case.dynamics, case.marketo) for case in cases}
    for worked in CASES:
        name = next(iter(worked.in_dynamics or worked.in_marketo))
        held = worked.base.get(name)
        sides = worked.in_dynamics.get(name, held), worked.in_marketo.get(name, held)
        assert (worked.record_type, name, held, *sides) in known, worked
    for case in cases:
        assert _by_oracle(case) == case.outcome, case


def _by_oracle(case: RuleCase) -> str:
    field = next(
        f for f in load_field_map().fields if (f.record_type, f.marketo_field) == (case.record_type, case.field)
    )
    seen = Seen(case.base, case.dynamics, case.marketo, case.has_base)
    found = outcomes(case.record_type, {"it": Rule(field.type, field.direction)}, {"it": seen})["it"]
    if found == Outcome():
        return "nothing"
    return f"{found.winner}_wins" if found.winner else "to_dynamics" if found.write_dynamics else "to_marketo"


# A field for each rule; of every type that a rule asks for.
RULED = {
    "original": Rule(),
    "dynamics": Rule(collision="dynamics"),
    "marketo": Rule(collision="marketo"),
    "newest": Rule(collision="newest"),
    "never_clear": Rule(collision="never_clear"),
    "review": Rule(collision="review"),
    "box": Rule("boolean"),
    "box_review": Rule("boolean", collision="review"),
    "opt_out": Rule("boolean", collision="restrictive", forbids="true"),
    "opt_in": Rule("boolean", collision="restrictive", forbids="false"),
    "to_marketo": Rule(direction="to_marketo"),
    "to_dynamics": Rule(direction="to_dynamics"),
}


def every_case() -> Iterator[RuleCase]:
    """Each rule with all that the two sides and the base can be, by equality and emptiness, and all that is known of times."""
    line = itertools.count(2)
    for record_type, (name, rule) in itertools.product(("lead", "contact"), RULED.items()):
        values = (None, "true", "false") if rule.type == "boolean" else (None, "A", "B", "C")
        bases = [(False, None), *((True, value) for value in values)]
        laters = (None, "dynamics", "marketo") if name == "newest" else (None,)
        for (has_base, base), dynamics, marketo, later in itertools.product(bases, values, values, laters):
            case = RuleCase(next(line), record_type, name, base, has_base, dynamics, marketo, later, "")
            yield dataclasses.replace(case, outcome=_expected(case, rule))


def _expected(case: RuleCase, rule: Rule) -> str:
    seen = Seen(case.base, case.dynamics, case.marketo, case.has_base, later=case.later)
    found = outcomes(case.record_type, {"it": rule}, {"it": seen})["it"]
    if found != Outcome():
        return f"{found.winner}_wins" if found.winner else "to_dynamics" if found.write_dynamics else "to_marketo"
    # A review is nothing to write, like two sides that agree: of another rule there would be a winner.
    original = dataclasses.replace(rule, collision="original")
    plain = outcomes(case.record_type, {"it": original}, {"it": seen})["it"]
    return "review" if rule.collision == "review" and plain.winner else "nothing"


def test_every_case_of_every_rule_comes_out_as_by_the_oracle() -> None:
    cases = list(every_case())
    lines = (line_of(name, rule) for name, rule in RULED.items())
    with Warehouse(IN_MEMORY) as empty, empty.transaction() as connection:
        failing = failing_cases(connection, cases, field_map(*lines))
    assert [(each.found, each.case) for each in failing] == []
    assert {case.outcome for case in cases} == set(OUTCOMES)


def test_cases_of_ones_own_are_decided_by_ones_own_map(run: Run, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(MAP, "utf-8")
    environment = {"DYNSYNC_DATA_DIR": str(tmp_path / "data"), "DYNSYNC_FIELD_MAP": str(tmp_path / "map.csv")}
    of_package = run("rules", "test", environment=environment, width=80)
    assert (of_package.code, "cases of the package" in of_package.out) == (1, True)
    (tmp_path / "rules_test.csv").write_text(OWN, "utf-8")
    ran = run("rules", "test", environment=environment)
    assert (ran.code, ran.out) == (0, "rules_test.csv: all 7 cases come out as written.\n")
    wrong = f"{OWN}lead,title,A,B,C,,dynamics_wins\nlead,fax,A,B,C,,nothing\n"
    (tmp_path / "rules_test.csv").write_text(wrong, "utf-8-sig")
    ran = run("rules", "test", "--json", environment=environment)
    assert ran.code == 1
    assert json.loads(ran.out) == [
        {"line": 9, "wanted": "dynamics_wins", "found": "marketo_wins"},
        {"line": 10, "wanted": "nothing", "found": "not in the field map"},
    ]
    assert run("rules", "cases", environment=environment).out == default_cases_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1"),
        (f"{HEADER},note\n", "line 1"),
        (f"{HEADER}\naccount,name,A,B,C,nothing\n", "line 2, record_type"),
        (f"{HEADER}\nlead,title,A,B,C,\n", "line 2, outcome"),
        (f"{HEADER}\nlead,title,A,B,nothing\n", "line 2"),
        (f"{OWN}lead,title,A,B,C,both,review\n", "line 9, later"),
        (f"{HEADER.replace('outcome', 'later,later,outcome')}\nlead,title,A,B,C,dynamics,,review\n", "line 1"),
    ],
)
def test_a_file_of_cases_with_a_fault_is_told_by_line(text: str, said: str) -> None:
    with pytest.raises(FieldMapWrong, match=f"^cases.csv, {said}"):
        parse_cases(text, "cases.csv")


def test_a_file_that_is_none_is_told_by_its_own_name_and_a_cell_without_an_end_is_no_traceback(
    run: Run, tmp_path: Path
) -> None:
    environment = {"DYNSYNC_DATA_DIR": str(tmp_path)}
    file = tmp_path / "rules_test.csv"
    for content, said in (
        (b'"' + b"x" * 200_000, "rules_test.csv cannot be read as CSV"),
        (f"{HEADER}\nlead,title,\xe4,B,A,to_marketo\n".encode("latin-1"), "The file of rule tests"),
    ):
        file.write_bytes(content)
        ran = run("rules", "test", environment=environment)
        assert (ran.code, said in ran.err) == (2, True), ran.err
        assert "field map" not in ran.err.lower()
    file.unlink()
    file.mkdir()
    ran = run("rules", "test", environment=environment)
    assert (ran.code, "it is a folder. Put a CSV there, or remove it." in ran.err) == (2, True)


def test_a_changed_map_that_fails_its_cases_stops_the_cycle_before_anything_is_read() -> None:
    """One that passes is tested once; other cases are tested again."""
    world = MemoryWorld(field_map("title,jobtitle,text,both,true"))
    world.link(RecordType.LEAD, "r1", title="A")
    file = world.settings.rules_test_file
    file.write_text(f"{HEADER}\nlead,title,A,B,C,marketo_wins\n", "utf-8")
    world.settled()
    tested = world.rows("from state.tested_rules")
    assert len(tested) == 1
    world.cycle()
    assert world.rows("from state.tested_rules") == tested
    n_cycles = world.rows("select count(*) from ledger.cycles")
    world.map_to(field_map("title,jobtitle,text,both,true,dynamics"))
    with pytest.raises(
        FieldMapWrong, match=r"rules_test\.csv, line 2: .* dynamics_wins, and not marketo_wins; 1 cases fail"
    ):
        world.cycle()
    assert world.rows("select count(*) from ledger.cycles") == n_cycles
    assert world.rows("select collision from reconcile.fields where field = 'title'") == [("original",)] * 2
    file.write_text(f"{HEADER}\nlead,title,A,B,C,dynamics_wins\n", "utf-8")
    world.settled()
