"""Who may call: the identity endpoint and the checking of tokens.

Source: docs/protocols/marketo.md#sign-in, #checklist 2, 3.
"""

from __future__ import annotations

import hmac
from typing import Any

from dynsync_pipeline.emulators.marketo.protocol import Params, Refused
from dynsync_pipeline.emulators.marketo.store import Store

LIFETIME_S = 3600
_NOT_FOUND = {"error": "invalid_client", "error_description": "No client with requested id or secret."}
_NO_GRANT = {"error": "unsupported_grant_type", "error_description": "Unsupported grant type."}


def issue_token(store: Store, params: Params) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of the identity endpoint: until it expires, the same token with the seconds it has left."""
    given = {name: values[0] for name, values in params.items() if values}
    if given.get("grant_type") != "client_credentials":
        return 400, _NO_GRANT
    with store.transaction() as db:
        user = db.execute(
            "select client_secret, email from api_users where client_id = ?", (given.get("client_id", ""),)
        ).fetchone()
        if not user or not hmac.compare_digest(user[0].encode(), given.get("client_secret", "").encode()):
            return 401, _NOT_FOUND
        now = store.now().timestamp()
        row = db.execute(
            "select token, expires_at from tokens where client_id = ? and expires_at > ?", (given["client_id"], now)
        ).fetchone()
        if row is None:
            row = (f"{store.next_uuid('token')}:ab", now + LIFETIME_S)
            db.execute("insert into tokens values (?, ?, ?, 0)", (row[0], given["client_id"], row[1]))
    return 200, {"access_token": row[0], "token_type": "bearer", "expires_in": int(row[1] - now), "scope": user[1]}


def check_token(store: Store, token: str | None) -> str:
    """The API user behind a token. Raises: Refused 603 without one, 602 the first time after expiry, then 601."""
    if not token:
        raise Refused("603", "Access denied")
    with store.lock:
        row = store.db.execute(
            "select t.expires_at, t.was_told, u.email from tokens t join api_users u using (client_id) "
            "where t.token = ?",
            (token,),
        ).fetchone()
        if row is None or (row[0] <= store.now().timestamp() and row[1]):
            raise Refused("601", "Access token invalid")
        if row[0] <= store.now().timestamp():
            store.db.execute("update tokens set was_told = 1 where token = ?", (token,))
            raise Refused("602", "Access token expired")
    return str(row[2])


def expire_tokens(store: Store) -> None:
    """End the life of every token now, as the control endpoint asks."""
    with store.lock:
        store.db.execute("update tokens set expires_at = min(expires_at, ?)", (store.now().timestamp(),))
