"""Deciding what waits in `state.reviews`. Not here: what is put there, and what a word leads to (`reconcile/sql/reviews.sql`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import duckdb


def open_reviews(connection: duckdb.DuckDBPyConnection) -> dict[int, str]:
    """The record in Dynamics of every review, by its number, decided by somebody or not; a word may be changed until a cycle
    carries it out.
    """
    return dict(connection.execute("select review_id, dynamics_id from state.reviews").fetchall())


def decide(connection: duckdb.DuckDBPyConnection, choices: Mapping[int, str], by: str, at: datetime) -> None:
    """Keep whose value is to stand, `dynamics` or `marketo`, for these reviews; the next cycle looks at them.

    `at` is UTC without zone.
    """
    for choice in sorted(set(choices.values())):
        chosen = [review_id for review_id, each in choices.items() if each == choice]
        connection.execute(
            "update state.reviews set choice = ?, chosen_at = ?, chosen_by = ? where review_id in (select unnest(?::bigint[]))",
            [choice, at, by, chosen],
        )
    _publish(connection, choices.keys())


def _publish(connection: duckdb.DuckDBPyConnection, review_ids: Collection[int]) -> None:
    connection.execute(
        "insert into state.unpublished (published_table, person_id) "
        "select distinct 'people', person_id from state.reviews where review_id in (select unnest(?::bigint[]))",
        [list(review_ids)],
    )
