"""Webhook signatures as three schemes write them. Law: the body's own bytes were signed, lately, by who has the secret.

`check` reads those of others, `sign` makes ours: Standard Webhooks.

Each scheme signs with HMAC-SHA256 and keeps every signature that a secret in rotation makes; one that fits is enough.

* standard: Standard Webhooks, the headers `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64 …` over
  `id.timestamp.body`; a secret is `whsec_` and base64.
* stripe: `Stripe-Signature: t=SECONDS,v1=HEX,…` over `timestamp.body`.
* persona: `Persona-Signature: t=SECONDS,v1=HEX …` over `timestamp.body`, one group for each secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_bytes
from typing import Final, Literal, NamedTuple

from ledger.errors import SignatureStale, SignatureWrong

Scheme = Literal["standard", "stripe", "persona"]
# How far a sender's clock and ours may be apart: what all three schemes recommend.
TOLERANCE_S: Final = 300
PREFIX: Final = "whsec_"
HEADER: Final = {"stripe": "stripe-signature", "persona": "persona-signature"}


class Signed(NamedTuple):
    """What a request says of its signing: the text before the body, when (seconds since 1970), and the signatures."""

    prefix: str
    at: int
    signatures: list[bytes]


def check(scheme: Scheme, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> None:
    """Pass if one of the secrets signed this body within the tolerance of `now` (seconds since 1970).

    Raises SignatureWrong or SignatureStale. The signature comes first: what a stranger claims of the time is not told.
    """
    signed = read_standard(headers) if scheme == "standard" else read_pairs(HEADER[scheme], headers)
    content = signed.prefix.encode() + body
    made = digests(scheme, secrets, content)
    # every pair is compared, and each in constant time
    fits = [hmac.compare_digest(ours, theirs) for ours in made for theirs in signed.signatures]
    if not any(fits):
        raise SignatureWrong(
            f"no signature of this {scheme} webhook fits: compare the endpoint's secret with the provider's, and pass "
            "the body on byte for byte"
        )
    if abs(now - signed.at) > TOLERANCE_S:
        raise SignatureStale(
            f"signed {now - signed.at} s ago, where {TOLERANCE_S} s are let pass: sign it anew, and compare the clocks"
        )


def sign(secrets: Sequence[str], name: str, at: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks, signed with every secret; `at` is seconds since 1970."""
    made = digests("standard", secrets, f"{name}.{at}.".encode() + body)
    signatures = " ".join(f"v1,{base64.b64encode(one).decode()}" for one in made)
    return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signatures}


def new_secret() -> str:
    """A secret of the standard scheme: 256 random bits."""
    return f"{PREFIX}{base64.b64encode(token_bytes(32)).decode()}"


def digests(scheme: Scheme, secrets: Sequence[str], content: bytes) -> list[bytes]:
    return [hmac.new(key(scheme, secret), content, hashlib.sha256).digest() for secret in secrets]


def key(scheme: Scheme, secret: str) -> bytes:
    """The bytes that sign. Raises ValueError for a secret of the standard scheme that is not base64."""
    if scheme != "standard":
        return secret.encode()
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


def read_standard(headers: Mapping[str, str]) -> Signed:
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    entries = (entry.partition(",") for entry in headers.get("webhook-signature", "").split())
    found = [decoded(text, base64.b64decode) for version, _, text in entries if version == "v1"]
    return Signed(f"{name}.{at}.", seconds("webhook-timestamp", at), list(filter(None, found)))


def read_pairs(header: str, headers: Mapping[str, str]) -> Signed:
    """A header of `t=…,v1=…` pairs; several groups, parted by spaces, share their time."""
    pairs = list(parted(headers.get(header, "")))
    at = next((value for name, value in pairs if name == "t"), "")
    found = [decoded(value, bytes.fromhex) for name, value in pairs if name == "v1"]
    return Signed(f"{at}.", seconds(header, at), list(filter(None, found)))


def parted(text: str) -> Iterator[tuple[str, str]]:
    for piece in text.replace(" ", ",").split(","):
        name, _, value = piece.partition("=")
        yield name.strip(), value.strip()


def decoded(text: str, decode: object) -> bytes | None:
    """A signature's bytes; None where it is not even written as one."""
    assert callable(decode)
    try:
        found: bytes = decode(text)
    except (ValueError, binascii.Error):
        return None
    return found


def seconds(header: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise SignatureWrong(f"{header} says no time of signing ({text[:40]!r}); give whole seconds since 1970")
    return int(text)
