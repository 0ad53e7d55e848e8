"""Where tables live: a lake of Parquet files and a DuckDB catalogue that makes them visible."""
