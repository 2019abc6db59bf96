"""From a YAML file to a checked spec, with the position of every mistake."""
