"""A mutation check over the rule files: each is broken in one place at a time, and some test must notice.

`sql_mutants.py` breaks, `check.py` runs the tests against what is broken, `explained.toml` lists the survivors that a
reviewer found harmless. `make mutants` runs it; not part of `make test`, which tests only the breaking.
"""
