"""Container images: built, appended to and pushed."""
