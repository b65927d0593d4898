"""Endpoints over HTTP: who may, what is refused, that secrets are shown once, and that every change is on the log."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ledger.delivery import Deliverer
from ledger.endpoints import Terms
from tests.receiver import OK, Receiver, receiver, reply
from tests.support import House, new_key, open_door

PATH = "/v1/endpoints"
TERMS = Terms(private=True, retry_s=7200)


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the platform's key, of a house that lets webhooks go to this machine and delivers when told to."""
    async with open_door(house.dsn, webhooks=TERMS, webhook_every_s=3600.0) as client:
        client.headers.update(await new_key(house.pool, "platform", name="ops"))
        yield client


async def made(http: httpx.AsyncClient, there: Receiver, **more: Any) -> dict[str, Any]:
    told = await http.post(PATH, json={"url": there.url, **more})
    assert told.status_code == 201, told.text
    found: dict[str, Any] = told.json()
    return found


async def test_the_life_of_an_endpoint_is_on_the_log_and_its_secret_is_told_once(
    http: httpx.AsyncClient, house: House
) -> None:
    async with receiver() as there:
        one = await made(http, there, kinds=["transfer.*", "org.frozen", "transfer.*"], description="books")
        key, secret = one["id"], one.pop("secret")
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
        assert (one["kinds"], one["enabled"], one["behind"]) == (["org.frozen", "transfer.*"], True, 1)
        shown = (await http.get(f"{PATH}/{key}")).json()
        assert shown == one and (await http.get(PATH)).json() == {"endpoints": [one], "next_cursor": None}
        steps = [
            (http.patch(f"{PATH}/{key}", json={"kinds": ["grant.*"], "description": ""}), {"kinds": ["grant.*"]}),
            (http.patch(f"{PATH}/{key}", json={"enabled": False}), {"enabled": False, "disabled_why": "platform"}),
            (http.patch(f"{PATH}/{key}", json={"enabled": False, "kinds": []}), {"kinds": [], "enabled": False}),
            (http.patch(f"{PATH}/{key}", json={"enabled": True}), {"enabled": True, "disabled_why": None}),
            (http.post(f"{PATH}/{key}/rotate"), {}),
            (http.post(f"{PATH}/{key}/replay", json={"after": 0}), {"upto": 0}),
            (http.delete(f"{PATH}/{key}"), {}),
        ]
        for act, changed in steps:
            told = await act
            assert told.status_code == 200 and changed.items() <= told.json().items(), told.text
        assert (await http.get(f"{PATH}/{key}")).status_code == 404
        rows = await house.pool.fetch("select kind, actor, body from log.events where subject = $1 order by seq", key)
        assert [row["kind"].removeprefix("endpoint.") for row in rows] == [
            "added", "changed", "disabled", "changed", "changed", "changed", "changed", "removed",
        ]  # fmt: skip
        assert {row["actor"] for row in rows} == {"ops"}
        text = str([tuple(row) for row in rows])
        assert "127.0.0.1" in text and "/hook" not in text and "whsec" not in text and secret not in text


async def test_a_rotation_says_until_when_the_old_secret_signs(http: httpx.AsyncClient) -> None:
    async with receiver() as there:
        one = await made(http, there)
        told = (await http.post(f"{PATH}/{one['id']}/rotate", json={"overlap_s": 60})).json()
        assert told["secret"] not in (one["secret"], None) and told["old_secret_until"] is not None
        told = (await http.post(f"{PATH}/{one['id']}/rotate", json={"overlap_s": 0})).json()
        assert told["old_secret_until"] is None
        tested = (await http.post(f"{PATH}/{one['id']}/test")).json()
        assert there.got[0].signed_by(told["secret"]) and len(there.got[0].signatures) == 1
        assert (tested["status"], tested["outcome"], tested["excerpt"]) == (200, "delivered", "ok")
        assert there.got[0].event["type"] == "endpoint.test" and there.got[0].name.startswith("test_")


async def test_deliveries_can_be_read_page_by_page_and_by_event(http: httpx.AsyncClient, house: House) -> None:
    async with receiver(lambda got: reply(500, body="no") if got.event["type"] == "org.frozen" else OK) as there:
        key = (await made(http, there, kinds=["endpoint.*"]))["id"]
        for _ in range(4):
            await http.patch(f"{PATH}/{key}", json={"description": "again"})
        await http.post(f"{PATH}/{key}/test")
        there.says = lambda got: reply(503, body="later")
        await http.post(f"{PATH}/{key}/test")
        there.says = lambda got: OK
        while await Deliverer(house.pool, TERMS).deliver_due():
            pass
        pages, cursor = [], None
        while True:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await http.get(f"{PATH}/{key}/deliveries", params=query)).json()
            pages.append(page["deliveries"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert [len(page) for page in pages] == [3, 3, 1]
        seqs = [one["seq"] for page in pages for one in page]
        assert sorted(seqs[:5], reverse=True) == seqs[:5] and seqs[5:] == [None, None]
        (one,) = (await http.get(f"{PATH}/{key}/deliveries", params={"seq": seqs[0]})).json()["deliveries"]
        assert (one["attempt"], one["status"], one["error"], one["next_at"]) == (1, 200, None, None)
        (bad,) = (await http.get(f"{PATH}/{key}/deliveries", params={"failed": True})).json()["deliveries"]
        assert (bad["status"], bad["excerpt"], bad["outcome"]) == (503, "later", "failed")


async def test_endpoints_are_listed_page_by_page(http: httpx.AsyncClient) -> None:
    async with receiver() as there:
        ids = [(await made(http, there))["id"] for _ in range(3)]
        first = (await http.get(PATH, params={"limit": 2})).json()
        second = (await http.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [one["id"] for one in first["endpoints"] + second["endpoints"]] == ids
        assert second["next_cursor"] is None


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "", {"url": "http://10.0.0.1:1/ is not"}, 422, "target_refused"),
    ("POST", "", {"url": "ftp://127.0.0.1/"}, 422, "target_refused"),
    ("POST", "", {"url": "http://8.8.8.8/"}, 422, "target_refused"),
    ("POST", "", {"url": "https://nosuch.invalid/"}, 422, "target_refused"),
    ("POST", "", {"url": "https://127.0.0.1/", "kinds": ["transfer"]}, 422, "invalid"),
    ("POST", "", {"url": "https://127.0.0.1/", "kinds": ["*"]}, 422, "invalid"),
    ("POST", "", {"url": "https://127.0.0.1/", "secret": "mine"}, 422, "invalid"),
    ("POST", "", {"url": "https://127.0.0.1/", "description": "\0"}, 422, "invalid"),
    ("POST", "", {}, 422, "invalid"),
    ("PATCH", "/KEY", {"url": "ftp://127.0.0.1/"}, 422, "target_refused"),
    ("PATCH", "/we_none", {"enabled": True}, 404, "not_found"),
    ("GET", "/we_none", None, 404, "not_found"),
    ("GET", "/we_none/deliveries", None, 404, "not_found"),
    ("DELETE", "/we_none", None, 404, "not_found"),
    ("POST", "/we_none/test", None, 404, "not_found"),
    ("POST", "/we_none/rotate", None, 404, "not_found"),
    ("POST", "/KEY/rotate", {"overlap_s": -1}, 422, "invalid"),
    ("POST", "/KEY/replay", {}, 422, "invalid"),
    ("POST", "/KEY/replay", {"after": 1, "since": "2027-01-01T00:00:00Z"}, 422, "invalid"),
    ("POST", "/KEY/replay", {"after": 10**9}, 422, "invalid"),
    ("POST", "/KEY/replay", {"after": -1}, 422, "invalid"),
    ("POST", "/KEY/replay", {"since": "2027-01-01T00:00:00"}, 422, "invalid"),
]


async def test_what_is_wrong_is_refused_and_says_so(http: httpx.AsyncClient, house: House) -> None:
    async with receiver() as there:
        key = (await made(http, there))["id"]
    before = await house.pool.fetchval("select max(seq) from log.events")
    for method, path, body, status, code in REFUSED:
        told = await http.request(method, PATH + path.replace("KEY", key), json=body)
        assert (told.status_code, told.json()["code"]) == (status, code), (path, body, told.text)
        assert told.json()["detail"]
    assert await house.pool.fetchval("select max(seq) from log.events") == before


async def test_private_targets_are_refused_unless_the_operator_allows_them(house: House) -> None:
    async with open_door(house.dsn) as client, receiver() as there:
        client.headers.update(await new_key(house.pool, "platform"))
        for url in (there.url, f"https://127.0.0.1:{there.port}/", f"https://localhost:{there.port}/"):
            told = await client.post(PATH, json={"url": url})
            assert (told.status_code, told.json()["code"]) == (422, "target_refused"), told.text
        assert there.connections == 0


async def test_only_the_platforms_key_sees_or_changes_endpoints(http: httpx.AsyncClient, house: House) -> None:
    async with receiver() as there:
        key = (await made(http, there))["id"]
    org = await house.org()
    others = [await new_key(house.pool, role, name=f"a-{role}") for role in ("service", "lead", "auditor")]
    others.append(await new_key(house.pool, "owner", org))
    routes = [("GET", ""), ("POST", ""), ("GET", f"/{key}"), ("PATCH", f"/{key}"), ("DELETE", f"/{key}")]
    routes += [("POST", f"/{key}/{act}") for act in ("rotate", "replay", "test")] + [("GET", f"/{key}/deliveries")]
    for header in others:
        for method, path in routes:
            body = {"url": "https://example.com/"} if path == "" else {"after": 0} if "replay" in path else {}
            told = await http.request(method, PATH + path, json=body, headers=header)
            assert (told.status_code, told.json()["code"]) == (403, "forbidden"), (method, path)
    assert (await http.get(f"{PATH}/{key}")).json()["enabled"]


async def test_the_application_brings_what_its_other_parts_tell_the_log(house: House) -> None:
    async with open_door(house.dsn, webhooks=TERMS, webhook_every_s=0.02) as client, receiver() as there:
        client.headers.update(await new_key(house.pool, "platform"))
        told = await client.post(PATH, json={"url": there.url, "kinds": ["list.*"]})
        assert told.status_code == 201, told.text
        lead = await new_key(house.pool, "lead", name="lee")
        entry = {"kind": "org", "value": "acme", "reason": "a test"}
        assert (await client.post("/v1/lists/block", json=entry, headers=lead)).status_code == 201
        while not there.got:
            await asyncio.sleep(0.02)
        (got,) = there.got
        assert (got.event["type"], got.event["data"]["actor"], got.event["data"]["value"]) == (
            "list.added",
            "lee",
            "acme",
        )
        assert got.signed_by(told.json()["secret"])
