"""Platforms that make a release live."""
