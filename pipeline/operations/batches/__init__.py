"""A file of rows becomes a file of predictions."""
