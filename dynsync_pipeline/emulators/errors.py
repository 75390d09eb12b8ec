"""The errors that starting the emulators raises on purpose. Not here: what they answer to requests (each its own)."""

from __future__ import annotations


class StateUnusable(Exception):
    """A state folder that other emulators serve, or that another version wrote; the message says what to do."""


class PortUnusable(OSError):
    """A port that was asked for and cannot be listened on; the message names it."""
