"""The platform ``server``: a host under systemd, reached by SSH."""
