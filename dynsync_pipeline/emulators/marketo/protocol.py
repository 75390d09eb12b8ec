"""One call and its answer: parameters in every form clients send them, the JSON envelope, refusals.

Not here: who may call and how often (`access.py`, `limits.py`), what a call does (a module per area).
Source: docs/protocols/marketo.md#envelope, #errors, #writing-people, #activities, #checklist 6.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

from dynsync_pipeline.emulators.marketo.store import Store

BATCH_LIMIT = 300
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Params = dict[str, list[str]]
_TOKEN_PART = re.compile("-?[0-9]{1,17}")
_DIGITS = re.compile(r"[0-9]{1,17}")


class Refused(Exception):
    """The whole call is refused: HTTP 200, `success` false and this code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Call:
    """One admitted request. `api_user` is the e-mail behind the token, `match` the variable parts of the path."""

    store: Store
    method: str
    path: str
    request_id: str
    api_user: str
    content_type: str
    body: bytes
    params: Params = field(default_factory=dict)
    match: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """The first value of a parameter, None when absent or empty."""
        return next((value for value in self.params.get(name, ()) if value), None)

    def required(self, name: str) -> str:
        """Like `text`. Raises: Refused 1002."""
        value = self.text(name)
        if value is None:
            raise Refused("1002", f"Missing value for the required parameter '{name}'")
        return value

    def texts(self, name: str) -> list[str]:
        """The values of a parameter, given comma-separated, repeated, or both."""
        return [part.strip() for value in self.params.get(name, ()) for part in value.split(",") if part.strip()]

    def integers(self, name: str) -> list[int]:
        """Like `texts`, whole numbers only. Raises: Refused 1001."""
        return [whole_number(part, name) for part in self.texts(name)]

    def batch_size(self) -> int:
        """`batchSize`; 300 at most and by default. Raises: Refused 1001."""
        asked = self.text("batchSize")
        return BATCH_LIMIT if asked is None else max(1, min(BATCH_LIMIT, whole_number(asked, "batchSize")))

    def id(self, name: str = "id") -> int:
        """A number in the path; 0, which nothing has, when it is none or far too long."""
        digits = self.match[name]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else 0

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises: Refused 609, 612."""
        if self.content_type not in ("application/json", ""):
            raise Refused("612", "Invalid Content Type")
        try:
            decoded = msgspec.json.decode(self.body.removeprefix(BYTE_ORDER_MARK))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused("609", "Invalid JSON") from None
        if not isinstance(decoded, dict):
            raise Refused("609", "Invalid JSON")
        return decoded

    def records(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The records of a write. Raises: Refused 1001, 1002, 1003 (more than 300: the vendor's code is unknown)."""
        records = body.get("input")
        if records in (None, []):
            raise Refused("1002", "Missing value for the required parameter 'input'")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise Refused("1001", "Invalid value for 'input'. Required of type 'array'")
        if len(records) > BATCH_LIMIT:
            raise Refused("1003", f"The number of records exceeds the maximum of {BATCH_LIMIT}")
        return records


def whole_number(text: str, name: str) -> int:
    """A parameter's whole number. Raises: Refused 1001."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 18):
        raise Refused("1001", f"Invalid value for '{name}'. Required of type 'integer'")
    return int(text)


def json_number(value: object) -> int | None:
    """A whole number in a JSON body, also one written as text as the vendor takes it; None for anything else."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62 else None


def string_option(body: dict[str, Any], name: str, default: str | None = None) -> str | None:
    """A string member of a JSON body; null means the default. Raises: Refused 1001."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise Refused("1001", f"Invalid value for '{name}'. Required of type 'string'")
    return value


def skipped(code: str, message: str) -> dict[str, Any]:
    """The answer for one record that was left alone: no id, and `reasons`."""
    return {"status": "skipped", "reasons": [{"code": code, "message": message}]}


def form_params(body: bytes) -> Params:
    """The parameters of a form body or a query string."""
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


def pack_token(*parts: int) -> str:
    """An opaque paging token: upper-case base32 with `=` padding, as the vendor's look."""
    return base64.b32encode(",".join(str(part) for part in parts).encode()).decode()


def unpack_token(token: str, n_parts: int) -> list[int]:
    """The numbers in a paging token. Raises: Refused 1003."""
    try:
        parts = base64.b32decode(token.encode()).decode("ascii").split(",")
    except (binascii.Error, ValueError):
        parts = []
    if len(parts) != n_parts or not all(_TOKEN_PART.fullmatch(part) for part in parts):
        raise Refused("1003", "Invalid value for 'nextPageToken'")
    return [int(part) for part in parts]


def envelope(request_id: str, answer: dict[str, Any]) -> bytes:
    """A successful answer; `answer` holds `result` and the paging members, in the vendor's key order."""
    body = {"requestId": request_id}
    if "result" in answer:
        body["result"] = answer["result"]
    body["success"] = answer.get("success", True)
    body.update({key: value for key, value in answer.items() if key not in ("result", "success")})
    return msgspec.json.encode(body)


def refusal(request_id: str, error: Refused) -> bytes:
    """A failed answer: codes are strings."""
    errors = [{"code": error.code, "message": error.message}]
    return msgspec.json.encode({"requestId": request_id, "success": False, "errors": errors})
