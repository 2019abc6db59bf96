"""The five steps as a Kedro project."""
