"""The prediction server, measured."""
