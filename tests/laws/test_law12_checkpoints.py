"""Law 12 beyond the database: a signed head and a proof verify by themselves, and no edited byte of either passes; a
tail that is cut off, or a past that is rewritten, shows against an older checkpoint."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from detector import checkpoints, log, proofs
from detector.checking import checked
from detector.checkpoints import Checkpoint
from detector.errors import ProofRefused
from detector.log import Told
from detector.proofs import Proof
from detector.verify import verify
from lockgate import cli
from models.signatures import new_key, read_key

run = CliRunner().invoke


async def tell(conn: asyncpg.Connection, *lengths: int) -> None:
    """So many events each in a link of their own; they are of three subjects."""
    for length in lengths:
        told = [Told("case.opened", f"t{place % 3}", "ann", {"of": f"ü{place}"}) for place in range(length)]
        await log.append(conn, told)


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str]:
    """A signing key's file, and the key to trust."""
    return tmp_path / "key.pem", new_key(tmp_path / "key.pem")


async def signed(conn: asyncpg.Connection, key: tuple[Path, str]) -> Checkpoint:
    return await checkpoints.make(conn, read_key(key[0]))


def judged(trusted: str, **files: bytes) -> dict[str, list[str]]:
    """What speaks against each file."""
    return {one.file: one.faults for one in checked(list(files.items()), trusted)}


async def test_a_checkpoint_and_a_proof_hold_by_themselves_and_no_edited_byte_of_them_does(
    database: str, key: tuple[Path, str]
) -> None:
    conn = await asyncpg.connect(database)
    await tell(conn, 4, 1, 2, 5)
    one = await signed(conn, key)
    await tell(conn, 3)
    proof = await proofs.prove(conn, "t1", one)
    await conn.close()
    head, told = checkpoints.write(one), checkpoints.write(proof)
    assert judged(key[1], head=head, told=told) == {"head": [], "told": []}
    assert [event.seq for event in proof.events] == [2, 7, 9, 12] and one.seq == proof.head.last_seq == 12
    for place in range(len(head)):
        assert judged(key[1], head=edited(head, place))["head"], f"byte {place} of a checkpoint"
    for place in range(len(told)):
        assert judged(key[1], head=head, told=edited(told, place))["told"], f"byte {place} of a proof"


def edited(text: bytes, place: int) -> bytes:
    """One byte made another one, of its own kind where it can be."""
    byte = text[place]
    other = (byte + 1 if chr(byte + 1).isalnum() else byte - 1) if chr(byte).isalnum() else byte ^ 1
    return text[:place] + bytes([other]) + text[place + 1 :]


def test_the_commands_say_what_holds_and_what_does_not(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    files = {name: str(tmp_path / name) for name in ("key", "one", "two", "proof", "other")}

    def ok(*words: str) -> str:
        told = run(cli.app, ["events", *words])
        assert told.exit_code == 0, (told.output, told.exception)
        return told.stdout

    def refused(*words: str) -> str:
        told = run(cli.app, ["events", *words])
        assert told.exit_code == 1, told.output
        return told.stdout or str(told.exception)

    trusted = json.loads(ok("key", "--out", files["key"], "--json"))["key"]
    assert (tmp_path / "key").stat().st_mode & 0o77 == 0
    sign = ("checkpoint", "--key", files["key"], "--out")
    assert "the log is empty" in refused(*sign, files["one"])
    asyncio.run(on(database, lambda conn: tell(conn, 4)))
    assert "events key --out FILE" in refused("checkpoint", "--key", files["two"], "--out", files["one"])
    assert ": event 4, link 1 of database test_" in ok(*sign, files["one"])
    assert "exists" in refused(*sign, files["one"])
    assert "no event up to 4 is of 't9'" in refused("proof", "t9", "--out", files["proof"])
    asyncio.run(on(database, lambda conn: tell(conn, 2, 2)))
    ok(*sign, files["two"])
    assert "2 events of t0, up to event 4, link 1" in ok(
        "proof", "t0", "--checkpoint", files["one"], "--out", files["proof"]
    )
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    holds = ok("check", files["two"], files["proof"], files["one"], "--key", trusted)
    assert holds.count(": holds\n") == 3
    apart = json.loads(refused("check", files["two"], files["proof"], "--key", trusted, "--json"))
    assert [(one["kind"], one["faults"] == []) for one in apart["files"]] == [("checkpoint", True), ("proof", False)]
    assert "which no checkpoint that was given is over" in apart["files"][1]["faults"][0] and apart["sound"] is False
    strange = "ab" * 32
    assert f"names the key {trusted[:16]}…" in refused("check", files["one"], "--key", strange)
    assert "64 hexadecimal digits" in refused("check", files["one"], "--key", "x")
    (tmp_path / "trusted").write_text(trusted.upper() + "\n")
    assert "holds" in ok("check", files["one"], "--key", str(tmp_path / "trusted"))
    (tmp_path / "other").write_text("{}")
    assert "its format is None" in refused("check", files["other"], "--key", trusted)
    text = Path(files["one"]).read_text()
    Path(files["other"]).write_text(text.replace('"seq": 4', '"seq": 5'))
    assert "its signature is not by the key" in refused("check", files["other"], "--key", trusted)
    Path(files["other"]).write_text(text.replace("\n ", "\n  "))
    assert "not those that were written" in refused("check", files["other"], "--key", trusted)


async def on(dsn: str, act: Any) -> None:
    conn = await asyncpg.connect(dsn)
    await act(conn)
    await conn.close()


HARM = {
    "a cut tail": "delete from log.events where seq > 4; delete from log.links where id > 1; "
    "update log.head h set seq = 4, link = 1, at = l.at, hash = l.hash from log.links l where l.id = 1",
    "a rewritten past": "{again} update log.head h set hash = l.hash from log.links l where l.id = 3",
    "another log": "truncate log.events, log.links; update log.head set seq = 0, link = 0, at = '-infinity', "
    "hash = decode(repeat('00', 32), 'hex')",
}
# From link 2 on, everything is hashed anew after an event was changed.
AGAIN = (
    "update log.events set actor = 'mallory', hash = log.event_hash(seq, link, at, kind, subject, 'mallory', body) "
    "where seq = 6;"
    + "".join(
        f"update log.links l set previous = p.hash from log.links p where l.id = {nr} and p.id = {nr - 1};"
        f"update log.links l set hash = log.link_hash(id, first_seq, last_seq, at, previous, "
        f"(select array_agg(hash order by seq) from log.events e where e.link = l.id)) where id = {nr};"
        for nr in (2, 3)
    )
)


@pytest.mark.parametrize(
    ("harm", "what", "row", "said"),
    [
        ("a cut tail", "dropped", 5, "events 5 to 8 were there when the checkpoint of"),
        ("a rewritten past", "replaced", "3", "the log was rewritten there, or before"),
        ("another log", "replaced", "1", "is of another log, or this one was rewritten from its first link on"),
    ],
)
def test_what_no_chain_shows_by_itself_shows_against_an_older_checkpoint(
    database: str, tmp_path: Path, key: tuple[Path, str], monkeypatch: pytest.MonkeyPatch,
    harm: str, what: str, row: Any, said: str,
) -> None:  # fmt: skip
    file = tmp_path / "older"

    async def before() -> None:
        conn = await asyncpg.connect(database)
        await tell(conn, 4, 2, 2)
        file.write_bytes(checkpoints.write(await signed(conn, key)))
        await conn.execute("set session_replication_role = replica")
        await conn.execute(HARM[harm].format(again=AGAIN))
        if harm == "another log":
            await tell(conn, 9)
        assert (await verify(conn)).findings == [], "the chain is whole by itself"
        await conn.close()

    asyncio.run(before())
    monkeypatch.setenv("DATABASE_URL", database)
    assert run(cli.app, ["verify"]).exit_code == 0
    told = run(cli.app, ["verify", "--checkpoint", str(file), "--key", key[1], "--json"])
    (finding,) = json.loads(told.stdout)["findings"]
    assert told.exit_code == 1 and (finding["what"], finding["seq"] or finding["id"]) == (what, row)
    assert said in finding["detail"]
    strange = run(cli.app, ["verify", "--checkpoint", str(file), "--key", "cd" * 32])
    assert strange.exit_code == 1 and "not the trusted" in str(strange.exception)


async def test_an_older_checkpoint_of_a_log_that_only_grew_holds(database: str, key: tuple[Path, str]) -> None:
    conn = await asyncpg.connect(database)
    await tell(conn, 4, 2)
    one = await signed(conn, key)
    await tell(conn, 1, 7)
    assert await checkpoints.against(conn, one) == []
    later = await signed(conn, key)
    assert judged(key[1], one=checkpoints.write(one), later=checkpoints.write(later)) == {"one": [], "later": []}
    await conn.close()


async def test_two_checkpoints_that_contradict_each_other_are_told(database: str, key: tuple[Path, str]) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute("set session_replication_role = replica")
    await tell(conn, 4, 2, 2)
    one = await signed(conn, key)
    await conn.execute(HARM["a rewritten past"].format(again=AGAIN))
    other = await signed(conn, key)
    proof = await proofs.prove(conn, "t0", other)
    told = judged(key[1], one=checkpoints.write(one), other=checkpoints.write(other), proof=checkpoints.write(proof))
    assert told == {"one": [], "other": ["it says otherwise than one of event 8: the log was rewritten in between"],
                    "proof": []}  # fmt: skip
    with pytest.raises(ProofRefused, match="link 3 is not the one that the checkpoint is over"):
        await proofs.prove(conn, "t0", one)
    await conn.execute("update log.events set body = '{}' where seq = 8")
    with pytest.raises(ProofRefused, match="event 8 is not what link 3 holds there"):
        await proofs.prove(conn, "t1")
    await conn.execute("update log.events set hash = sha256(hash) where seq = 8")
    with pytest.raises(ProofRefused, match="link 3 is not whole"):
        await signed(conn, key)
    await conn.close()


async def test_a_proof_of_other_links_or_events_is_refused_with_the_one_that_does_not_fit(
    database: str, key: tuple[Path, str]
) -> None:
    conn = await asyncpg.connect(database)
    await tell(conn, 4, 2, 5)
    one = await signed(conn, key)
    proof = await proofs.prove(conn, "t0")
    strange = (await proofs.prove(conn, "t1")).events[0]
    await conn.close()

    def said(**changes: Any) -> str:
        plain: dict[str, Any] = {name: getattr(proof, name) for name in proof.__struct_fields__}
        (first, *_) = proofs.faults(Proof(**{**plain, **changes}), [one])
        return first

    assert list(proofs.faults(proof, [one])) == []
    assert "link 3 does not follow" in said(links=[proof.links[0], proof.links[2]])
    assert "link 2 does not make its hash" in said(links=[proof.links[0], moved(proof.links[1]), proof.links[2]])
    assert f"event {strange.seq} is not the next one of t0" in said(events=[strange, *proof.events])
    assert "is not the next one" in said(events=[proof.events[1], proof.events[0]])
    assert "which no checkpoint that was given is over" in said(links=proof.links[:2], events=proof.events[:1])


def moved(link: Any) -> Any:
    return type(link)(link.id, link.first_seq, link.last_seq, link.at, link.hash, list(reversed(link.events)))
