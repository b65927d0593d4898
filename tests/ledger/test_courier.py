"""One connection: what servers answer, however badly, is a reply within the time given; TLS is checked by the name."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger import courier, targets
from ledger.courier import MOST_READ, Courier, retry_after
from ledger.targets import read
from tests.receiver import HEADERS, OK, posted, receiver, reply

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
ANSWERS: list[tuple[bytes | None, int | None, str]] = [
    (OK, 200, "ok"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    (CHUNKED, 200, "hello world"),
    (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, 200, "ok"),
    (reply(302, headers="Location: https://elsewhere.example/\r\n"), 302, ""),
    (reply(500, body="<h1>\x00 broken</h1>\n" * 100), 500, "<h1>  broken</h1> <h1>"),
    (None, None, "closed without an answer"),
    (b"SSH-2.0-OpenSSH_9.0\r\n", None, "no HTTP"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", None, "no HTTP"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 2 * MOST_READ, None, ""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 4 * MOST_READ, 200, "xxx"),
]


@pytest.mark.parametrize(("answer", "status", "says"), ANSWERS)
async def test_whatever_is_answered_is_a_reply(answer: bytes | None, status: int | None, says: str) -> None:
    async with receiver(lambda got: answer) as there:
        told = await posted(there.url)
        assert told.status == status
        assert says in str(told.excerpt or "") + str(told.error or "")
        assert told.delivered == (status in (200, 204))
        assert (told.excerpt is None or len(told.excerpt) <= 200) and (status is None) == (told.error is not None)
        assert there.got[0].body == b"{}"


async def test_silence_ends_with_the_time_given_and_a_refused_connection_says_so() -> None:
    async with receiver() as there:
        there.hold = asyncio.Event()
        told = await posted(there.url, 0.05)
        assert (told.status, told.error) == (None, "no answer in 0.05 s")
    told = await posted(there.url, 20)
    assert told.status is None and "no connection: " in str(told.error)


async def test_a_status_counts_even_if_its_body_never_comes() -> None:
    async with receiver(lambda got: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") as there:
        assert (await posted(there.url, 0.2)).delivered


async def test_a_connection_is_used_again_and_opened_anew_where_it_was_closed() -> None:
    async with receiver() as there:
        line = Courier(read(there.url, True), True)
        for _ in range(3):
            assert (await line.post(HEADERS, b"{}", 20)).delivered
        assert there.connections == 1
        there.says = lambda got: OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await line.post(HEADERS, b"{}", 20)).delivered
        assert (await line.post(HEADERS, b"{}", 20)).delivered
        assert there.connections == 2
        # closed without notice after an answer: the next post finds out, and is posted on a new connection
        answers = iter([OK, None, OK])
        there.says = lambda got: next(answers)
        assert (await line.post(HEADERS, b"{}", 20)).delivered
        assert (await line.post(HEADERS, b"{}", 20)).delivered
        line.close()
        assert there.connections == 4 and len(there.got) == 8


def test_the_loop_that_the_service_runs_on_ends_posts_the_same_way(certified: Callable[..., ssl.SSLContext]) -> None:
    async def ends() -> list[object]:
        found: list[object] = []
        async with receiver(tls=certified("127.0.0.1")) as there:
            found.append((await posted(f"https://127.0.0.1:{there.port}/hook?to=us")).status)
        async with receiver(tls=certified("other.example")) as there:
            found.append((await posted(f"https://127.0.0.1:{there.port}/hook?to=us")).error)
        async with receiver(lambda got: None) as there:
            found.append((await posted(there.url)).error)
            there.hold = asyncio.Event()
            found.append((await posted(there.url, 0.05)).error)
        found.append((await posted(there.url)).error)
        found.append((await posted(f"https://localhost:{there.port}/", private=False)).error)
        found.append((await posted("https://nosuch.invalid/", private=False)).error)
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ok, mismatch, hung_up, silent, refused, private, nowhere = map(str, runner.run(ends()))
    assert ok == "200" and mismatch.startswith("TLS: IP address mismatch")
    assert (hung_up, silent) == ("the connection was closed without an answer", "no answer in 0.05 s")
    assert refused.startswith("no connection: ") and "which is not public" in private
    assert "nosuch.invalid" in nowhere and "not resolve" in nowhere


def test_retry_after_is_seconds_or_a_date_and_never_more_than_a_day() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    assert 500 < (retry_after({"retry-after": soon}) or 0) <= 600
    past = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    told = [retry_after({"retry-after": text}) for text in (past, "9" * 30, "7", "", "-1", "1.5", "٣", "tomorrow")]
    assert told == [0, 86_400, 7, None, None, None, None, None]
    assert retry_after({}) is None


# --- TLS ---


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ssl.SSLContext]:
    """A server's TLS with a certificate for names and addresses, by an authority that this process trusts."""
    root = authority(tmp_path / "root.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    courier.trust.cache_clear()

    def server(*names: str, days: int = 10) -> ssl.SSLContext:
        file = tmp_path / "server.pem"
        file.write_bytes(certificate(root, names, days))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    yield server  # type: ignore[misc]
    courier.trust.cache_clear()


Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def authority(file: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    made = built(name, name, key, 10).add_extension(x509.BasicConstraints(True, None), True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = made.add_extension(usage, True)
    signed = made.sign(key, hashes.SHA256())
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return signed, key


def certificate(root: Authority, names: tuple[str, ...], days: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    alternatives = [
        x509.IPAddress(ip_address(name)) if targets.is_address(name) else x509.DNSName(name) for name in names
    ]
    made = built(subject, root[0].subject, key, days).add_extension(x509.SubjectAlternativeName(alternatives), False)
    signed = made.sign(root[1], hashes.SHA256())
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return plain + signed.public_bytes(serialization.Encoding.PEM)


def built(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    until = datetime.now(UTC) + timedelta(days=days)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return made.serial_number(1).not_valid_before(until - timedelta(days=20)).not_valid_after(until)


async def test_tls_goes_to_the_checked_address_under_the_urls_name(
    certified: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(targets, "resolve", resolve)
    cases = [
        (certified("hooks.example"), None),
        (certified("other.example"), "TLS: Hostname mismatch"),
        (certified("127.0.0.1"), "TLS: Hostname mismatch"),
        (certified("hooks.example", days=-1), "TLS: certificate has expired"),
    ]
    for context, fault in cases:
        async with receiver(tls=context) as there:
            told = await posted(f"https://hooks.example:{there.port}/hook?to=us")
            assert (told.status, len(there.got)) == ((200, 1) if fault is None else (None, 0)), told
            assert (told.error is None) if fault is None else (fault in str(told.error)), told


async def test_an_untrusted_certificate_is_refused(
    certified: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certified("127.0.0.1")
    monkeypatch.delenv("SSL_CERT_FILE")
    courier.trust.cache_clear()
    async with receiver(tls=context) as there:
        told = await posted(f"https://127.0.0.1:{there.port}/")
        assert told.status is None and "TLS: " in str(told.error), told
