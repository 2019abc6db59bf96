"""The types of a spec, a module for each large section."""
