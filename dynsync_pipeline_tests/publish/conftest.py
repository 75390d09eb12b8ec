"""A working file with some of everything that pages and metrics tell, made by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dynsync_pipeline.publish.figures import read_figures
from dynsync_pipeline.warehouse.connection import Warehouse, utc_now
from dynsync_pipeline.warehouse.follow_map import follow_field_map
from dynsync_pipeline_tests.cli.conftest import HandMade

HOSTILE = "</script><script>console.error('markup')</script><b>O'Brien & 🦊 مرحبا"


def ago(**length: float) -> str:
    return f"{utc_now().replace(tzinfo=None) - timedelta(**length):%Y-%m-%d %H:%M:%S}"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> HandMade:
    """A working file with some of everything that the page tells, made by hand."""
    home = HandMade(tmp_path_factory.mktemp("pages"))
    name = HOSTILE.replace("'", "''")
    long = "veryLongField" * 5
    streams = "['dynamics_accounts', 'dynamics_contacts', 'dynamics_leads', 'marketo_people']"
    an_hour, long_ago = f"timestamp '{ago(hours=1)}'", f"timestamp '{ago(days=8)}'"
    statements = (
        home.cycle(1, ago(hours=30)),
        home.cycle(2, ago(hours=5), "failed", name),
        home.cycle(3, ago(minutes=4)),
        f"insert into state.cursors (stream, columns, moved_at, is_loaded) select unnest({streams}), 'x', {an_hour}, true",
        "insert into reconcile.operations (operation_id, cycle_id, system, action, record_type, dynamics_id, body) values "
        "(1, 3, 'marketo', 'update', 'contact', 'a', '{}'), (2, 3, 'dynamics', 'update', 'lead', 'b', '{}'), "
        "(3, 3, 'dynamics', 'update', 'lead', 'c', '{}')",
        "insert into reconcile.receipts (operation_id, outcome, received_at, is_settled) "
        f"values (3, 'applied', {an_hour}, true)",
        "insert into ledger.sync_errors (error_id, cycle_id, happened_at, last_seen_at, record_type, person_id, "
        "dynamics_id, field, operation, direction, code, message, attempts, state) "
        f"select i, 1, '{ago(hours=3)}', {an_hour}, 'contact', null, i, 'email', 'create', 'to_marketo', '1003', "
        f"'{name}', 1, s from values (1, 'waiting'), (2, 'quarantined'), (3, 'resolved') as t(i, s)",
        "insert into ledger.backlog_hours (hour_at, object, n_looks, n_sum, n_least, n_most, n_last) values "
        f"({an_hour}, 'contact', 2, 5, 1, 4, 1), ('{ago(hours=2)}', 'lead', 2, 0, 0, 0, 0)",
        "insert into ledger.collisions (entry_id, cycle_id, settled_at, record_type, person_id, dynamics_id, field, base_value, "
        "dynamics_value, marketo_value, winner, rule_code) "
        f"select i, 3, case when i < 9 then {an_hour} else {long_ago} end, 'lead', 7, 'b', "
        f"case when i < 6 then 'city' else '{long}' end, 'x', 'y', 'z', "
        "case when i % 2 = 0 then 'marketo' else 'dynamics' end, 'marketo_wins' from range(10) r(i)",
        f"insert into mirror.dynamics_accounts (accountid, is_deleted, name) values ('acc', false, '{name}')",
        "insert into ledger.account_changes (entry_id, cycle_id, changed_at, account_id, field, old_value, new_value, "
        "n_contacts, activities_suppressed, reason_code) "
        f"select i, 3, {an_hour}, 'acc', ['company', 'website'][i], 'a', 'b', 5001, "
        "true, 'account_changed' from range(1, 3) r(i)",
        "insert into ledger.schema_changes (entry_id, seen_at, system, record_type, name, code, new_value) "
        f"values (1, {an_hour}, 'dynamics', 'contact', 'jobtitle', 'column_shortened', '{'x' * 300}')",
        "insert into ledger.budget_days (system, begins_at, ends_at, told_at, n_used, n_forecast, n_allowed, n_reserved, "
        "n_export_bytes, n_export_bytes_forecast) select 'marketo', b::timestamp, b::timestamp + interval 1 day, b::timestamp, "
        f"35, n, 25000, 0, 0, 0 from values ('{ago(hours=30)}', 1), ('{ago(hours=6)}', 26000) as t(b, n)",
        "insert into state.reviews (review_id, person_id, record_type, dynamics_id, field, opened_at, choice) select i, i, "
        f"'lead', i, 'city', {an_hour}, [null, 'marketo'][i] from range(1, 3) r(i)",
        "insert into state.approvals (approval_id, cause, cause_name, n_people, record_type, dynamics_id, direction, asked_at, "
        f"approved_at) select i, 'create', 'lead', 9, 'lead', i, 'to_marketo', {an_hour}, [null, now()][i] from range(1, 3) r(i)",
        f"insert into ledger.calls_between (called_at, system, n_calls) values ('{ago(hours=7)}', 'marketo', 13)",
    )
    with Warehouse(home.settings.working_file) as warehouse, warehouse.transaction() as connection:
        follow_field_map(connection, home.fields)
        for statement in statements:
            connection.execute(statement)
    return home


def figures_of(home: HandMade) -> dict[str, Any]:
    with Warehouse(home.settings.working_file) as warehouse, warehouse.reading() as connection:
        figures = read_figures(connection, home.settings, home.fields, warehouse.now())
    return dict(json.loads(json.dumps(figures, default=str)))
