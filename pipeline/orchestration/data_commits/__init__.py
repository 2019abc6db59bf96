"""New data commits: what happened in a data repository, which models it touches, and the runs that follow."""
