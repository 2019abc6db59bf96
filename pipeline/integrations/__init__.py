"""Git hosts and CI systems: pipelines for them, and what a change comes to, said where it is reviewed."""
