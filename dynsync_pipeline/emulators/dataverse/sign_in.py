"""The identity provider, as far as MSAL and its like need one.

Secrets, assertions and passwords are verified. Errors carry the real AADSTS numbers, and 400 or 401 as MSAL caches them
differently.
Source: docs/protocols/dataverse.md#sign-in.
"""

from __future__ import annotations

import base64
import hmac
import re
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives import hashes
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dynsync_pipeline.emulators.dataverse.certificate import load_certificate
from dynsync_pipeline.emulators.dataverse.store import TOKEN_LIFE_S, Store

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Refused(Exception):
    """A token request that is refused."""

    def __init__(self, status: int, error: str, number: int, text: str) -> None:
        super().__init__(text)
        self.status, self.error, self.number, self.text = status, error, number, text


def routes(store: Store) -> list[Route]:
    """The identity provider's routes; they stand beside the Web API on the same host and port."""

    async def token(request: Request) -> Response:
        form = await request.form(max_fields=50)
        fields = _of_header(request.headers.get("authorization", ""))
        fields |= {name: value for name, value in form.items() if isinstance(value, str)}
        try:
            return JSONResponse(
                _grant(store, request, fields), headers={"Cache-Control": "no-store", "Pragma": "no-cache"}
            )
        except _Refused as refused:
            return _refusal(refused)

    async def configuration(request: Request) -> Response:
        try:
            _tenant(store, request)
        except _Refused as refused:
            return _refusal(refused)
        issuer = _issuer(request)
        base = issuer.removesuffix("/v2.0")
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "id_token_signing_alg_values_supported": ["RS256"],
                "subject_types_supported": ["pairwise"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
            }
        )

    async def realm(request: Request) -> Response:
        domain = request.path_params["user"].rpartition("@")[2]
        return JSONResponse(
            {
                "ver": "1.0", "account_type": "Managed", "domain_name": domain,
                "cloud_instance_name": request.url.hostname, "cloud_audience_urn": "urn:federation:MicrosoftOnline",
            }
        )  # fmt: skip

    async def instance(request: Request) -> Response:
        host = request.url.netloc
        endpoint = f"{_origin(request)}/{store.tenant_id}/v2.0/.well-known/openid-configuration"
        alias = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        return JSONResponse({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [alias]})

    return [
        Route("/common/userrealm/{user:path}", realm, methods=["GET"]),
        Route("/common/discovery/instance", instance, methods=["GET"]),
        Route("/{tenant}/v2.0/.well-known/openid-configuration", configuration, methods=["GET"]),
        Route("/{tenant}/.well-known/openid-configuration", configuration, methods=["GET"]),
        Route("/{tenant}/oauth2/v2.0/token", token, methods=["POST"]),
        Route("/{tenant}/oauth2/token", token, methods=["POST"]),
    ]


def _of_header(authorization: str) -> dict[str, str]:
    """The client's id and secret from a header of the scheme Basic, each form-encoded in it; nothing for any other."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return {}
    return {"client_id": unquote_plus(client_id), "client_secret": unquote_plus(secret)} if colon else {}


def _grant(store: Store, request: Request, form: dict[str, str]) -> dict[str, Any]:
    """The answer to a token request. Raises _Refused."""
    tenant = _tenant(store, request)
    client_id = form.get("client_id", "")
    grant = form.get("grant_type", "")
    if client_id not in (store.client_id, store.stranger_client_id):
        raise _Refused(
            400, "unauthorized_client", 700016,
            f"Application with identifier '{client_id[:50]}' was not found in the directory '{tenant}'.",
        )  # fmt: skip
    if grant not in ("client_credentials", "password", "refresh_token"):
        raise _Refused(400, "unsupported_grant_type", 70003, f"The grant type '{grant[:50]}' is not supported.")
    resource = _resource(request, form)
    if grant == "client_credentials":
        _verify_client(store, request, form)
        user_id = store.sync_user_id if client_id == store.client_id else None
        return _tokens(store, user_id, resource)
    if form.get("client_secret") or form.get("client_assertion"):
        _verify_client(store, request, form)
    if grant == "refresh_token":
        is_valid, user_id = store.token_owner(form.get("refresh_token", ""))
        if not is_valid or user_id is None:
            raise _Refused(400, "invalid_grant", 70008, "The provided refresh token has expired.")
    else:
        user_id = _verify_password(store, form)
    name = store.sync_username if user_id == store.password_user_id else store.sales_username
    return {**_tokens(store, user_id, resource), **_identity(store, request, user_id, name, client_id)}


def _verify_client(store: Store, request: Request, form: dict[str, str]) -> None:
    secret, assertion = form.get("client_secret"), form.get("client_assertion")
    if secret is not None:
        if not hmac.compare_digest(secret.encode(), store.client_secret.encode()):
            raise _Refused(
                401, "invalid_client", 7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{form['client_id']}'.",
            )  # fmt: skip
    elif assertion is not None and form.get("client_assertion_type") == ASSERTION_TYPE:
        _verify_assertion(store, request, form["client_id"], assertion)
    else:
        raise _Refused(
            401, "invalid_client", 7000218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )  # fmt: skip


def _verify_assertion(store: Store, request: Request, client_id: str, assertion: str) -> None:
    """Check signature, thumbprint, audience, issuer, subject and lifetime of a client assertion."""
    certificate = load_certificate(store.client_pem)
    try:
        header = jwt.get_unverified_header(assertion)
        sent = header.get("x5t#S256") or header.get("x5t") or ""
        algorithm = hashes.SHA256() if "x5t#S256" in header else hashes.SHA1()  # noqa: S303 the protocol's thumbprint
        thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(algorithm)).rstrip(b"=").decode()
        if sent.rstrip("=") != thumbprint:
            raise jwt.InvalidSignatureError("thumbprint")
        base = _origin(request)
        tenant = request.path_params["tenant"]
        jwt.decode(
            assertion,
            certificate.public_key(),  # type: ignore[arg-type]  # an RSA key by construction
            algorithms=["RS256", "PS256"],
            audience=[f"{base}/{tenant}/oauth2/v2.0/token", f"{base}/{tenant}/oauth2/token", f"{base}/{tenant}/v2.0"],
            issuer=client_id,
            subject=client_id,
            options={"require": ["exp", "iss", "sub", "aud", "jti"]},
        )
    except (jwt.InvalidSignatureError, jwt.DecodeError, jwt.InvalidAlgorithmError, AttributeError, TypeError):
        raise _Refused(
            401, "invalid_client", 700027,
            "The certificate with identifier used to sign the client assertion is not registered on application.",
        ) from None  # fmt: skip
    except jwt.InvalidTokenError as error:
        raise _Refused(
            401, "invalid_client", 700024, f"Client assertion is not within its valid time range or unfit: {error}."
        ) from None


def _verify_password(store: Store, form: dict[str, str]) -> str:
    known = {
        store.sync_username: (store.sync_password, store.password_user_id),
        store.sales_username: (store.sales_password, store.sales_user_id),
    }
    name = form.get("username", "").lower()
    if name not in known:
        raise _Refused(400, "invalid_grant", 50034, "The user account does not exist in the directory.")
    password, user_id = known[name]
    if not hmac.compare_digest(form.get("password", "").encode(), password.encode()):
        raise _Refused(400, "invalid_grant", 50126, "Error validating credentials due to invalid username or password.")
    return user_id


def _resource(request: Request, form: dict[str, str]) -> str:
    """The organisation's address in `scope` (or `resource`, in the older form)."""
    scopes = [s for s in form.get("scope", "").split() if s not in ("openid", "profile", "offline_access", "email")]
    wanted = form.get("resource") or (scopes[0] if scopes else "")
    match = re.fullmatch(r"(https?://[^/\s]+)(?:/+(\.default|user_impersonation))?/?", wanted)
    if not match or (not form.get("resource") and not match[2]):
        raise _Refused(
            400,
            "invalid_scope",
            70011,
            f"The provided value for scope is not valid. The scope {wanted[:100]} is not valid.",
        )
    host = urlsplit(match[1]).hostname
    if host != request.url.hostname and host not in LOOPBACK:
        name = match[1][:100]
        raise _Refused(
            400, "invalid_resource", 500011, f"The resource principal named {name} was not found in the tenant."
        )
    return match[1]


def _tokens(store: Store, user_id: str | None, resource: str) -> dict[str, Any]:
    return {
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFE_S,
        "ext_expires_in": TOKEN_LIFE_S,
        "access_token": store.new_token(user_id),
        "resource": resource,
    }


def _identity(store: Store, request: Request, user_id: str, name: str, client_id: str) -> dict[str, Any]:
    """What a person's client needs besides: an id token (MSAL does not check its signature) and an account."""
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "aud": client_id, "iss": _issuer(request), "iat": now, "nbf": now, "exp": now + TOKEN_LIFE_S,
        "tid": store.tenant_id, "oid": user_id, "sub": user_id, "preferred_username": name, "name": name, "ver": "2.0",
    }  # fmt: skip
    info = {"uid": user_id, "utid": store.tenant_id}
    return {
        "id_token": f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{_encoded(claims)}.",
        "client_info": _encoded(info),
        "refresh_token": store.new_token(user_id, 90 * 86_400),
        "scope": "user_impersonation openid profile offline_access",
    }


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).rstrip(b"=").decode()


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _issuer(request: Request) -> str:
    return f"{_origin(request)}/{request.path_params['tenant']}/v2.0"


def _tenant(store: Store, request: Request) -> str:
    """The tenant in the path; `adfs` and `organizations` stand for the only one there is. Raises _Refused."""
    tenant = str(request.path_params["tenant"])
    if tenant.lower() not in (store.tenant_id, "adfs", "organizations"):
        raise _Refused(
            400, "invalid_request", 90002,
            f"Tenant '{tenant[:60]}' not found. Check to make sure you have the correct tenant ID and are signing into "
            "the correct cloud.",
        )  # fmt: skip
    return tenant


def _refusal(refused: _Refused) -> Response:
    trace_id, correlation_id = str(uuid.uuid4()), str(uuid.uuid4())
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return JSONResponse(
        {
            "error": refused.error,
            "error_description": f"AADSTS{refused.number}: {refused.text} Trace ID: {trace_id} Correlation ID: "
            f"{correlation_id} Timestamp: {at}",
            "error_codes": [refused.number],
            "timestamp": at,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={refused.number}",
        },
        status_code=refused.status,
    )
