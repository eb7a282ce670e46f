"""The columnar projection of events: Parquet parts that DuckDB scans (COLUMNAR.md beside explains)."""
