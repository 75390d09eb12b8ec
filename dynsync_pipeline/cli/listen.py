"""`dynsync listen`: the webhook by which Marketo asks for records in real time (docs/requests.md)."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from dynsync_pipeline.cli.output import Exit, app, prints_to
from dynsync_pipeline.errors import PortTaken, SettingsWrong
from dynsync_pipeline.publish.metrics import metrics_file
from dynsync_pipeline.requests.listener import TOKEN_HEADER, Server, listener
from dynsync_pipeline.requests.store import RequestStore, make_data_dir
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings

SHORTEST_TOKEN = 20


@app.command(
    help="Listen for Marketo's flow step Call Webhook: make leads and contacts of people in real time, until Ctrl-C.\n\n"
    "Exit codes: 1 failed or port taken, 2 settings or options wrong, 130 ended by Ctrl-C."
)
def listen(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need a certificate.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 8321,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of the certificate and its chain.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="PEM file of the private key; without it, the certificate's file.")
    ] = None,
) -> None:
    """Serve the webhook. Raises: SettingsWrong, PortTaken, StorageFailed."""
    settings = load_settings()
    tokens = settings.tokens
    _require(host, certificate, key, tokens)
    settings.require_systems()
    make_data_dir(settings)
    with _bound(host, port) as bound, RequestStore(settings.requests_file) as store, Server(settings, store) as server:
        scheme = "https" if certificate else "http"
        shown = f"[{host}]" if ":" in host else host
        prints_to.print(f"Webhook  {scheme}://{shown}:{bound.getsockname()[1]}/requests", highlight=False)
        prints_to.print(f"Header   {TOKEN_HEADER}: one of DYNSYNC_LISTEN_TOKENS", highlight=False)
        prints_to.print("End      Ctrl-C", highlight=False)
        config = uvicorn.Config(
            listener(settings, server, tokens, lambda: _figures(settings)),
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            timeout_graceful_shutdown=25,
        )
        uvicorn.Server(config).run(sockets=[bound])
        raise typer.Exit(Exit.INTERRUPTED)  # it comes back only where it was told to end


def _figures(settings: Settings) -> str:
    """What the last cycle told Prometheus; nothing before the first."""
    file = metrics_file(settings.snapshot_file)
    return file.read_text("utf-8") if file.exists() else ""


def _require(host: str, certificate: Path | None, key: Path | None, tokens: list[str]) -> None:
    """Raise SettingsWrong where somebody could listen along, or call without a token that is worth the name."""
    if not tokens or min(map(len, tokens)) < SHORTEST_TOKEN:
        raise SettingsWrong(
            f"DYNSYNC_LISTEN_TOKENS must hold at least one token, each of {SHORTEST_TOKEN} characters or more.",
            next_step="Make one with `openssl rand -hex 32`, and put it into the webhook's custom header in Marketo, too.",
        )
    for file in filter(None, (certificate, key)):
        if not file.is_file():
            raise SettingsWrong(
                f"There is no file {file}.", next_step="Name the PEM files of certificate and private key."
            )
    if key is not None and certificate is None:
        raise SettingsWrong("A private key was given without its certificate.", next_step="Give --certificate, too.")
    if certificate is None and not _is_loopback(host):
        raise SettingsWrong(
            f"Listening on {host} without a certificate would send tokens in the clear.",
            next_step="Give --certificate and --key, or listen on 127.0.0.1 behind a reverse proxy that speaks TLS.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises: PortTaken, SettingsWrong."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise SettingsWrong(
            f"There is no address {host}.", next_step="Give --host an address of this machine."
        ) from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(512)  # whoever calls before the server is up waits
        return bound
    except OSError as error:
        bound.close()
        raise PortTaken(
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            next_step="Give --port another number, or end what listens there.",
        ) from None
