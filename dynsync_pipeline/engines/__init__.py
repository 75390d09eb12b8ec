"""The engines that answer questions about everything by the rule files of a cycle: DuckDB, and Apache Spark, an extra."""
