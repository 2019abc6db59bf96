"""Settings: all of them are Kedro's defaults."""
