"""Thin Dagster wrappers named after the steps of a cycle. Not here: what a step does; where it all meets.

Modules whose functions take a Dagster `context` do without postponed annotations: Dagster checks them as they stand.
"""
