"""Signatures: published vectors pass, and whatever is off by a byte, a secret or five minutes does not."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import SignatureStale, SignatureWrong
from ledger.signatures import TOLERANCE_S, Scheme, check, new_secret, sign

# The worked example of the Standard Webhooks libraries.
STANDARD = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    b'{"test": 2432232314}',
    1614265330,
)
# By the documented recipe, computed with `openssl dgst -sha256 -hmac SECRET` over `t.body`.
STRIPE = (
    "whsec_stripe_test",
    {"stripe-signature": "t=1792000000,v1=73f5fbdb45bcb2edd82699591e20d7392de1f7dd15062b5443fdd630f5a24e15,v0=00"},
    b'{"id":"evt_1","type":"identity.verification_session.verified"}',
    1792000000,
)
PERSONA = (
    "wbhsec_persona_test",
    {
        "persona-signature": "t=1792000000,v1=00ff "
        "t=1792000000,v1=6b5ad77e46c13dfb8abfb6ff48d3486e1dc97a71cfa96b78a36804e7f80920f0"
    },
    b'{"data":{"id":"evt_A"}}',
    1792000000,
)
VECTORS: dict[Scheme, tuple[str, dict[str, str], bytes, int]] = {
    "standard": STANDARD,
    "stripe": STRIPE,
    "persona": PERSONA,
}
EACH = pytest.mark.parametrize("scheme", VECTORS)


@EACH
def test_the_published_vector_passes_and_any_of_several_secrets_does(scheme: Scheme) -> None:
    secret, headers, body, at = VECTORS[scheme]
    check(scheme, [secret], headers, body, at)
    check(scheme, ["whsec_" + base64.b64encode(b"older").decode(), secret], headers, body, at + TOLERANCE_S)


@EACH
def test_another_secret_body_or_time_is_wrong(scheme: Scheme) -> None:
    secret, headers, body, at = VECTORS[scheme]
    other = "whsec_" + base64.b64encode(b"other").decode()
    moved = {name: text.replace(str(at), str(at + 1)) for name, text in headers.items()}
    for secrets, told, said in (([other], headers, body), ([secret], headers, body + b" "), ([secret], moved, body)):
        with pytest.raises(SignatureWrong, match="no signature"):
            check(scheme, secrets, told, said, at)


@EACH
@pytest.mark.parametrize("apart_s", [TOLERANCE_S + 1, -TOLERANCE_S - 1, 86_400])
def test_a_stale_one_is_refused_and_says_by_how_much(scheme: Scheme, apart_s: int) -> None:
    secret, headers, body, at = VECTORS[scheme]
    with pytest.raises(SignatureStale, match=f"signed {apart_s} s ago"):
        check(scheme, [secret], headers, body, at + apart_s)


@EACH
@pytest.mark.parametrize("header", ["", "v1,", "v1=", "t=,v1=zz", "t=1e9,v1=00", "t=-1,v1=00", "t=٣,v1=00", "v2,AAAA"])
def test_a_header_that_is_none_is_wrong(scheme: Scheme, header: str) -> None:
    secret, headers, body, at = VECTORS[scheme]
    names = ("webhook-signature",) if scheme == "standard" else tuple(headers)
    for told in ({**headers, **dict.fromkeys(names, header)}, {}):
        with pytest.raises(SignatureWrong):
            check(scheme, [secret], told, body, at)


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=40), st.integers(0, 10**10), st.integers(0, 7))
def test_one_changed_bit_of_the_body_is_enough(body: bytes, key: bytes, at: int, bit: int) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    made = base64.b64encode(hmac.new(key, f"m.{at}.".encode() + body, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": str(at), "webhook-signature": f"v1a,AAAA v1,{made}"}
    check("standard", [secret], headers, body, at)
    changed = bytes([body[0] ^ (1 << bit)]) + body[1:] if body else b"x"
    with pytest.raises(SignatureWrong):
        check("standard", [secret], headers, changed, at)


# --- ours ---


def test_we_sign_the_published_vector_as_published() -> None:
    secret, headers, body, at = STANDARD
    assert sign([secret], headers["webhook-id"], at, body) == headers


@given(st.binary(max_size=200), st.integers(0, 10**10))
def test_what_we_sign_passes_with_either_secret_of_a_rotation(body: bytes, at: int) -> None:
    new, old = new_secret(), new_secret()
    headers = sign([new, old], "evt_1", at, body)
    for secret in (new, old):
        check("standard", [secret], headers, body, at)
    with pytest.raises(SignatureWrong):
        check("standard", [new_secret()], headers, body, at)
