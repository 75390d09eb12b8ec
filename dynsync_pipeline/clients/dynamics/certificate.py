"""The certificate by which the sync signs in to Dataverse, as MSAL takes it. Not here: signing in (`auth.py`)."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import SecretStr

from dynsync_pipeline.errors import SettingsWrong


def read_certificate(file: Path, passphrase: SecretStr | None) -> dict[str, str]:
    """Key and certificate of a PEM file, as text. Raises: SettingsWrong."""
    named = f"DYNSYNC_DYNAMICS_CERTIFICATE_FILE: {file}"
    try:
        pem = file.read_bytes()
    except OSError as error:
        raise SettingsWrong(
            f"{named} cannot be read: {(error.strerror or '').lower()}.",
            next_step="Point it at a PEM file with the private key and the certificate.",
        ) from None
    try:
        key = serialization.load_pem_private_key(pem, passphrase.get_secret_value().encode() if passphrase else None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: a passphrase is missing, or given without need
        raise SettingsWrong(
            f"{named} does not hold an RSA key and a certificate that DYNSYNC_DYNAMICS_CERTIFICATE_PASSPHRASE opens.",
            next_step="Put both as PEM into the file; set the passphrase only if the key is encrypted.",
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise SettingsWrong(f"{named} holds a key that is not RSA.", next_step="Entra takes RSA certificates only.")
    plain_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "private_key": plain_key.decode("ascii"),
        "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
    }
