"""The plan: recipes and keys, what must run, and why."""
