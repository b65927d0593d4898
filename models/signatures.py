"""Ed25519 over bytes: who made this artifact, by its manifest (optional; a configured key makes it required), or who
signed this checkpoint.

The key that is trusted is written as 64 hexadecimal digits; the one that signs is a PEM file.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from models.errors import ArtifactRefused, ModelError


def new_key(path: Path) -> str:
    """Make a signing key, write it to a new file that only its owner reads, and say which key to trust."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return key.public_key().public_bytes_raw().hex()


def read_key(path: Path) -> Ed25519PrivateKey:
    """The signing key of a PEM file."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as fault:
        raise ModelError(f"{path} holds no signing key: {fault}") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelError(f"{path} holds another key than Ed25519; make one with `openssl genpkey -algorithm ed25519`")
    return key


def verify(manifest: bytes, signature: bytes | None, trusted_key: str) -> None:
    """Refuse a manifest that the trusted key did not sign."""
    if signature is None:
        raise ArtifactRefused("unsigned", "there is no manifest.sig, and a key is configured")
    try:
        signed = signed_by(manifest, signature, trusted_key)
    except ValueError as fault:
        raise ArtifactRefused("signature", "the configured key is not 64 hexadecimal digits") from fault
    if not signed:
        raise ArtifactRefused("signature", f"manifest.sig is not by the configured key {trusted_key[:16]}…")


def signed_by(text: bytes, signature: bytes, key: str) -> bool:
    """Whether a key (64 hexadecimal digits; else ValueError) signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, text)
    except InvalidSignature:
        return False
    return True
