"""Questions about everything on Apache Spark, by the same rule files as in a cycle; the extra is dynsync-pipeline[spark]."""
