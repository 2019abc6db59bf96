"""The work of each step on artifacts: read what it needs, call its function, write what it gives."""
