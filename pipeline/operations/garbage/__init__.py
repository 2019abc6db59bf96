"""What may go from the store: found by what needs it, decided as a pure function, removed a few at a time."""
