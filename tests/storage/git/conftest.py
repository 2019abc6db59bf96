"""Every test of Git runs under a user's own settings too."""

from tests.hostile_settings import settings  # noqa: F401 - pytest finds it here
