"""The platform ``local``: supervised processes of this machine."""
