"""A port for a server that is told its port before it starts. Not here: servers that take one themselves, by port 0."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, from below those that Linux gives to connections (ip_local_port_range, ip(7)).

    One of these may become some connection's own before the server has started, and whoever tries whether it listens yet
    may be connected to itself.
    """
    while True:
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", random.randint(20_000, 29_999)))
                return int(tried.getsockname()[1])
            except OSError:
                continue
