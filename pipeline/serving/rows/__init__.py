"""From bytes to columns: JSON, Arrow, Parquet, compressed bodies."""
