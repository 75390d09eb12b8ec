"""Programs that bring contacts from Dynamics into a DuckDB file, each as its makers show it; `against.py` runs them.

Each is a process of its own, some in environments that know nothing of this package: they read `task.json` in the folder they
are started in and write `contacts.duckdb` there. What they share is told in that file: `url`, `ca_file`,
`token`, `columns`, `page_size`.
"""
