"""Where webhooks go: nothing that is not public, however it is written, resolves or comes to be later."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from ledger import targets
from ledger.errors import TargetRefused
from ledger.targets import Target, addresses, is_public, read
from tests.receiver import Got, posted, receiver, reply

NOT_PUBLIC = [
    "127.0.0.1", "127.255.0.3", "0.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.9.9",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.5", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1",
    "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "ff0e::1",
]  # fmt: skip
# Not even where private addresses are allowed.
NEVER = {
    "0.0.0.0", "169.254.169.254", "224.0.0.1", "239.1.2.3", "::", "fe80::1", "fe80::1%eth0", "ff02::1", "ff0e::1",
    "::ffff:169.254.169.254",
}  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1",
    "64:ff9b::8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_no_hosts_on_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    assert targets.refusal(address, True, private=False) is not None
    allowed = targets.refusal(address, False, private=True) is None
    assert allowed == (address not in NEVER)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_taken_and_only_by_https(address: str) -> None:
    assert is_public(ip_address(address))
    assert targets.refusal(address, True, private=False) is None
    assert "use https" in str(targets.refusal(address, False, private=True))


# Each names a host that is this machine, or one near it, in one of the ways that resolvers understand.
DISGUISED = [
    "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data",
    "https://10.1.2.3:8443/", "https://192.168.0.1", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:a00:1]/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/",
    "https://0177.0.0.1/", "https://127.1/", "https://0/", "https://0.0.0.0/", "https://localhost/",
    "https://LOCALHOST./x", "https://[fe80::1]/", "https://[64:ff9b::10.0.0.1]/", "https://3232235521/",
]  # fmt: skip


@pytest.mark.parametrize("url", DISGUISED)
async def test_a_disguised_address_is_refused_when_an_endpoint_is_added(url: str) -> None:
    with pytest.raises(TargetRefused, match=r"not public|no receiver can be|does not resolve"):
        await addresses(read(url, private=False), private=False)


WRONG = [
    ("http://example.com/", "not https"),
    ("ftp://example.com/", "not https"),
    ("file:///etc/passwd", "not https"),
    ("example.com/hook", "not https"),
    ("https://", "names no host"),
    ("https:///path", "names no host"),
    ("https://user:secret@example.com/", "a user, a password"),
    ("https://example.com@10.0.0.1/", "a user, a password"),
    ("https://example.com/#part", "fragment"),
    ("https://example.com:99999/", "cannot be read"),
    ("https://example.com:x/", "cannot be read"),
    ("https://[::1/", "cannot be read"),
    ("https://[fe80::1%25eth0]/", "names no host"),
    ("https://exämple.com/", "printable ASCII"),
    ("https://example.com/a b", "printable ASCII"),
    ("https://example.com/\r\nx: y", "printable ASCII"),
    ("https://example.com\\@10.0.0.1/", "printable ASCII"),
    ("https://exa%6dple.com/", "names no host"),
    ("https://example.com/" + "x" * 2000, "2000"),
]


@pytest.mark.parametrize(("url", "why"), WRONG)
def test_a_url_that_is_not_plain_is_refused_and_says_why(url: str, why: str) -> None:
    with pytest.raises(TargetRefused, match=why) as caught:
        read(url, private=False)
    assert "secret" not in caught.value.detail


def test_a_url_is_read_as_it_is_posted_to() -> None:
    assert read("https://Example.COM", False) == Target(True, "example.com", 443, "/")
    assert read("https://a.example:8443/x/y?z=1&w", False) == Target(True, "a.example", 8443, "/x/y?z=1&w")
    assert read("http://a.example/", True).authority == "a.example"
    assert read("https://a.example:80/", False).authority == "a.example:80"


# --- names that change ---


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """What the resolver says of each name; it stands in for somebody else's name server."""
    said: dict[str, list[str]] = {}

    async def resolve(host: str, port: int) -> list[str]:
        return said[host]

    monkeypatch.setattr(targets, "resolve", resolve)
    yield said


async def test_a_name_with_one_private_address_among_others_is_refused(names: dict[str, list[str]]) -> None:
    names["two.example"] = ["93.184.216.34", "10.0.0.7"]
    with pytest.raises(TargetRefused, match=r"two\.example is at 10\.0\.0\.7"):
        await addresses(read("https://two.example/", False), False)


async def test_a_name_that_turns_private_after_it_was_added_is_never_connected_to(names: dict[str, list[str]]) -> None:
    async with receiver() as there:
        url = f"https://turns.example:{there.port}/hook"
        names["turns.example"] = ["93.184.216.34"]
        assert await addresses(read(url, False), False) == ["93.184.216.34"]
        names["turns.example"] = ["127.0.0.1"]
        told = await posted(url, private=False)
        assert told.status is None
        assert "refused: turns.example is at 127.0.0.1, which is not public" in str(told.error)
        assert there.connections == 0


async def test_a_redirect_to_a_private_address_is_a_failure_and_is_not_followed() -> None:
    async with receiver() as inside:

        def away(got: Got) -> bytes:
            return reply(307, headers=f"Location: {inside.url}\r\n")

        async with receiver(away) as there:
            told = await posted(there.url)
            assert (told.status, told.delivered) == (307, False)
            assert inside.connections == 0
