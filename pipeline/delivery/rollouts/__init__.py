"""Decides how a candidate release replaces the stable one, from what both have answered. Pure: others act."""
