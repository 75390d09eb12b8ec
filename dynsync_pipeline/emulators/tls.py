"""The emulators' own certificate authority, kept in the state folder so that clients trust it across restarts."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

CA_FILE = "ca.pem"
_SERVER_FILE = "server.pem"
NAMES = ("localhost", "127.0.0.1", "::1")


class Tls:
    """A certificate authority and a certificate for the loopback names, made once per state folder.

    `ca_file` is what clients trust, `server_file` holds the server's key and chain (mode 0600).
    """

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / CA_FILE
        self.server_file = folder / _SERVER_FILE
        if self._is_usable():
            return
        authority = trustme.CA(organization_name="DynSync emulators")
        server = authority.issue_cert(*NAMES)
        write_private(self.server_file, server.private_key_and_cert_chain_pem.bytes())
        self.ca_file.write_bytes(authority.cert_pem.bytes())

    def _is_usable(self) -> bool:
        """Whether both files are there and whole; a start that was cut may have left half of them."""
        try:
            ssl.create_default_context(cafile=self.ca_file).load_cert_chain(self.server_file)
        except OSError:  # ssl.SSLError is one
            return False
        return True


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)
