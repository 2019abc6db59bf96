"""The step ``clean``: a partition's bytes become checked and repaired rows."""
