"""What only an emulator has: changing how the subscription behaves. Every endpoint answers JSON and needs no token.

| request | does |
|---|---|
| `GET /emulator/marketo/behaviour` | the switches and limits of `store.Behaviour` as they are |
| `POST /emulator/marketo/behaviour` | sets the members given, keeps the others; `{}` changes nothing |
| `POST /emulator/marketo/tokens/expire` | ends the life of every access token now |
| `POST /emulator/marketo/clock` | `{"ahead_s": 3600}` lets time pass: tokens, quotas, retention, file lifetimes |
| `POST /emulator/marketo/reset` | forgets every record, the log, jobs, counters, switches; users and fields stay |
| `POST /emulator/marketo/retype` | `{"field": "dynamicsType", "type": "integer"}` gives a custom field another type |
| `POST /emulator/marketo/partitions` | `{"name": "EMEA"}` creates a lead partition |
| `POST /emulator/marketo/withdrawn` | `{"fields": ["rating"]}`: the API no longer knows exactly these fields |
| `POST /emulator/marketo/score` | `{"leadId": 1, "field": "leadScore", "change": 5, "reason": "…"}`: a flow step |

Broken connections, delays and canned answers are not here: they work the same for every emulator (`../faults.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.responses import Response

from dynsync_pipeline.emulators.marketo.access import expire_tokens
from dynsync_pipeline.emulators.marketo.fields import CREATABLE_TYPES
from dynsync_pipeline.emulators.marketo.partitions import add_partition
from dynsync_pipeline.emulators.marketo.people_writes import score_change
from dynsync_pipeline.emulators.marketo.store import Behaviour, Store

PREFIX = "/emulator/marketo/"


class _Clock(msgspec.Struct, forbid_unknown_fields=True):
    ahead_s: float


class _Partition(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Retype(msgspec.Struct, forbid_unknown_fields=True):
    field: str
    type: str


class _Withdrawn(msgspec.Struct, forbid_unknown_fields=True):
    fields: frozenset[str]


class _Score(msgspec.Struct, forbid_unknown_fields=True):
    leadId: int
    field: str
    change: int
    reason: str = "Flow step"


def answer(store: Store, method: str, path: str, body: bytes) -> Response:
    """Serve one control request: 200, 400 with a sentence, or 404."""
    action = _ACTIONS.get((method, path.removeprefix(PREFIX)))
    if action is None:
        return _json(404, {"error": f"No control endpoint {method} {path}."})
    try:
        action(store, body)
    except (msgspec.DecodeError, ValueError) as error:
        return _json(400, {"error": str(error)})
    return _json(200, msgspec.to_builtins(store.behaviour))


def _change_behaviour(store: Store, body: bytes) -> None:
    changed = {**msgspec.to_builtins(store.behaviour), **msgspec.json.decode(body, type=dict[str, object])}
    store.set_behaviour(msgspec.convert(changed, Behaviour))


def _retype(store: Store, body: bytes) -> None:
    wanted = msgspec.json.decode(body, type=_Retype)
    if wanted.type not in CREATABLE_TYPES:
        raise ValueError("No field can have this type.")
    store.retype_field(wanted.field, wanted.type)


def _score(store: Store, body: bytes) -> None:
    step = msgspec.json.decode(body, type=_Score)
    score_change(store, step.leadId, step.field, step.change, step.reason)


_ACTIONS: dict[tuple[str, str], Callable[[Store, bytes], object]] = {
    ("GET", "behaviour"): lambda store, body: None,
    ("POST", "behaviour"): _change_behaviour,
    ("POST", "tokens/expire"): lambda store, body: expire_tokens(store),
    ("POST", "clock"): lambda store, body: store.advance_clock(msgspec.json.decode(body, type=_Clock).ahead_s),
    ("POST", "partitions"): lambda store, body: add_partition(store, msgspec.json.decode(body, type=_Partition).name),
    ("POST", "reset"): lambda store, body: store.reset(),
    ("POST", "retype"): _retype,
    ("POST", "withdrawn"): lambda store, body: store.withdraw_fields(msgspec.json.decode(body, type=_Withdrawn).fields),
    ("POST", "score"): _score,
}


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
