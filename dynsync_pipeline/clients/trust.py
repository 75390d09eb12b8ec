"""TLS: which certificates are trusted, and how much is read at a time. Not here: requests (`transport.py`)."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.settings import Settings


class _ManyRecords(ssl.SSLObject):
    """Reads all records that have come, where Python reads one, of 16 KB: each piece costs the layers above it as much."""

    def read(self, *most: Any) -> Any:
        """Up to so many bytes; with a buffer too, one record of them. Raises: ssl.SSLError."""
        first = super().read(*most)
        if len(most) != 1 or not first:
            return first
        pieces, n_left = [first], most[0] - len(first)
        while n_left > 0:
            try:
                piece = super().read(n_left)
            except ssl.SSLError:  # nothing more has come; whatever else it is, the next read tells
                break
            if not piece:
                break
            pieces.append(piece)
            n_left -= len(piece)
        return b"".join(pieces)


def trust(settings: Settings) -> ssl.SSLContext:
    """The system's certificate authorities and those of the settings. Raises: SettingsWrong."""
    ca_file = settings.ca_file
    try:
        return _trusting(ca_file, b"" if ca_file is None else ca_file.read_bytes())
    except OSError as error:  # ssl.SSLError is one
        why = "it holds none" if isinstance(error, ssl.SSLError) else (error.strerror or "").lower()
        raise SettingsWrong(
            f"DYNSYNC_CA_FILE: {ca_file} cannot be read as PEM certificates: {why}.",
            next_step="Point it at a PEM file, or unset it.",
        ) from None


@cache
def _trusting(ca_file: Path | None, _content: bytes) -> ssl.SSLContext:
    """Read once for each content of the file: reading the system's authorities takes 25 ms, and a cycle asks four times."""
    context = ssl.create_default_context()
    context.sslobject_class = _ManyRecords
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
