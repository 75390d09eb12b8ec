"""The only code that opens DuckDB: connection, cycle lock, migrations, columns driven by the field map."""
