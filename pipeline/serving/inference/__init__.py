"""From a request to an answer: access, releases of a lineup, shadows."""
