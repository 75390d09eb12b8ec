"""One request and its answer, free of any web framework, so that a `$batch` part is served by the same code.

Holds the header, preference and query-option grammar. Not here: what the options do.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec

from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request, privilege_denied
from dynsync_pipeline.emulators.dataverse.schema import Column, Schema, Table
from dynsync_pipeline.emulators.dataverse.store import Store, User

MAX_URL_BYTES = 32_768
MAX_BATCH_URL_BYTES = 65_536
QUERY_OPTIONS = {
    "$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken", "$deltatoken", "$id",
    "$apply",
}  # fmt: skip
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_PREFERENCE = re.compile(r'\s*([A-Za-z.\-]+)\s*(?:=\s*("[^"]*"|[^,;]*))?\s*(?:[,;]|$)')


@dataclass
class Answer:
    """Status, headers and body of a reply."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        """An answer with a JSON body."""
        return cls(
            status,
            value if isinstance(value, bytes) else msgspec.json.encode(value),
            {"Content-Type": "application/json; odata.metadata=minimal", **(headers or {})},
        )

    @classmethod
    def of_error(cls, error: DataverseError) -> Answer:
        """The vendor's error envelope."""
        return cls.json(error.body, error.status, error.headers)


@dataclass
class Call:
    """One request: `segments` are the decoded path parts after `/api/data/v9.2/`, `root` is that URL with its slash."""

    store: Store
    connection: sqlite3.Connection
    user: User
    method: str
    segments: list[str]
    query: str
    headers: dict[str, str]
    body: bytes
    root: str

    def __post_init__(self) -> None:
        self.schema: Schema = self.store.schema
        self.preferences = parse_preferences(self.headers.get("prefer", ""))
        self.options, self.aliases, self.custom = parse_query(self.query)

    @property
    def url(self) -> str:
        """The request's URL without its query."""
        return self.root + "/".join(self.segments)

    @property
    def annotations(self) -> list[str]:
        """Patterns of the annotations asked for."""
        wanted = self.preferences.get("odata.include-annotations", "")
        return [pattern.strip() for pattern in wanted.split(",") if pattern.strip()]

    @property
    def wants_representation(self) -> bool:
        """Whether a write shall answer with the row."""
        return self.preferences.get("return") == "representation"

    @property
    def condition(self) -> tuple[str | None, str | None]:
        """If-Match and If-None-Match; the literal `null` that the docs recommend is no condition."""
        if_match, if_none_match = self.headers.get("if-match"), self.headers.get("if-none-match")
        return if_match or None, None if if_none_match in (None, "", "null") else if_none_match

    def json(self) -> Any:
        """The body as JSON, decimals exact. Raises DataverseError 400."""
        try:
            return _DECODER.decode(self.body.removeprefix(_BYTE_ORDER_MARK))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataverseError(
                400,
                "0x80048d19",
                f"Error identified in Payload provided by the user for Entity :'', InnerException : "
                f"Newtonsoft.Json.JsonReaderException: {error}",
            ) from None

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises DataverseError 400."""
        value = self.json()
        if not isinstance(value, dict):
            raise DataverseError(400, "0x80048d19", "An object was expected in the request body.")
        return value

    def visible(self, column: Column) -> bool:
        """Whether data queries know a column: new ones appear after the metadata cache has caught up."""
        return (
            column.visible_from_s <= self.store.now().timestamp()
            or self.headers.get("consistency", "").lower() == "strong"
        )

    def may_see(self, column: Column) -> bool:
        """Whether column security lets this user read or write the column."""
        return not column.secured or self.user.is_administrator

    def require(self, verb: str, table: Table, *, everywhere: bool = False) -> None:
        """Raise 403 if the user lacks `prv<Verb><Table>`, or (`everywhere`) has it for own rows only."""
        privilege = f"prv{verb}{table.privilege_name}"
        denied = self.store.is_denied(self.connection, self.user.user_id, privilege) or (
            everywhere and self.store.is_denied(self.connection, self.user.user_id, f"{privilege}:global")
        )
        if denied:
            raise privilege_denied(self.user.user_id, privilege, table.name, table.type_code)


def parse_preferences(header: str) -> dict[str, str]:
    """The Prefer header as name -> value; several preferences may be comma-joined, values quoted."""
    found: dict[str, str] = {}
    for name, value in _PREFERENCE.findall(header):
        found.setdefault(name.lower(), value.strip().strip('"') if value else "")
    return found


def parse_query(query: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """System query options, `@p` aliases, and custom options such as `tag` and `fetchXml`. Names are case-sensitive.

    Raises DataverseError 400 for options that Dataverse lacks and for repeated ones.
    """
    options: dict[str, str] = {}
    aliases: dict[str, str] = {}
    custom: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        raw_name, _, raw_value = part.partition("=")
        name = unquote_plus(raw_name)
        value = unquote_plus(raw_value)
        if name.startswith("@"):
            aliases[name] = value
        elif name.startswith("$"):
            _refuse_option(name, options)
            options[name] = value
        elif name in ("savedQuery", "userQuery"):
            raise bad_request(f"The query parameter '{name}' is not supported by this emulator.")
        else:
            custom[name] = value
    return options, aliases, custom


def _refuse_option(name: str, given: dict[str, str]) -> None:
    if name == "$skip":
        raise bad_request("Skip Clause is not supported in CRM")
    if name not in QUERY_OPTIONS:
        raise bad_request(f"The query parameter '{name}' is not supported.")
    if name in given:
        raise bad_request(f"Query option '{name}' was specified more than once, but it must be specified at most once.")


def split_path(raw_path: str) -> list[str]:
    """Cut a percent-encoded path at its slashes, but not inside quotes, and decode the pieces."""
    pieces = [""]
    quoted = False
    for char in raw_path.replace("%27", "'"):
        if char == "'":
            quoted = not quoted
        if char == "/" and not quoted:
            pieces.append("")
        else:
            pieces[-1] += char
    return [unquote(piece) for piece in pieces if piece]
