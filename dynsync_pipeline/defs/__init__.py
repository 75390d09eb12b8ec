"""Thin Dagster wrappers named after the steps. Not here: any rule, SQL or HTTP."""
