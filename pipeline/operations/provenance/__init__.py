"""Where a release comes from and what became of it: differences, traces, rebuilds, the audit."""
