"""Where processes meet, in a word."""

from __future__ import annotations

LOOPBACK = "127.0.0.1"


def tcp_place(address: str, port: int, word: str) -> str:
    """Name a place that a process serves; the word is what only those who belong together know."""
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{port}/{word}"
