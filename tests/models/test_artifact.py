"""Artifacts: what was written loads to the same scores, and whatever is wrong with one is refused with its reason."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import treelite
from hypothesis import example, given
from hypothesis import strategies as st

from models import artifact, files, manifest, registry, signatures
from models.calibration import Calibration, Line, Platt
from models.errors import ArtifactRefused, ArtifactUnknown, ModelError
from models.tails import Tail
from tests.support import examples

FEATURES = tuple(f"feature_{number}" for number in range(8))
FILES = [
    "manifest.json", "supervised.tl", "tails.json", "calibration.json", "check.bin", "check.json", "card.md",
    "card.json", "figures/weekly.svg",
]  # fmt: skip


def load(directory: Path, **asked: Any) -> Any:
    return artifact.read(directory, **{"features": FEATURES, "feature_table_hash": "ab12", **asked})


def refused(directory: Path, reason: str, match: str | None = None, **asked: Any) -> None:
    """Refused for the reason, from the directory as from its parcel."""
    with pytest.raises(ArtifactRefused, match=match) as fault:
        load(directory, **asked)
    assert fault.value.reason == reason
    with pytest.raises(ArtifactRefused):
        artifact.read_packed(files.pack(directory), **{"features": FEATURES, "feature_table_hash": "ab12", **asked})


def rewrite(directory: Path, change: Callable[[dict[str, Any]], None], stamps: bool = True) -> None:
    """Change the manifest as somebody who can compute hashes would."""
    path = directory / "manifest.json"
    said = msgspec.json.decode(path.read_bytes())
    if stamps:
        for name in said["files"]:
            said["files"][name] = msgspec.to_builtins(manifest.stamp((directory / name).read_bytes()))
    change(said)
    path.write_bytes(msgspec.json.encode(said))


def nothing(said: dict[str, Any]) -> None:
    """The stamps alone."""


def edit(directory: Path, name: str, change: Callable[[Any], None]) -> None:
    """Change a JSON file, and its stamp."""
    said = msgspec.json.decode((directory / name).read_bytes())
    change(said)
    (directory / name).write_bytes(msgspec.json.encode(said))
    rewrite(directory, nothing)


def test_what_was_written_loads_to_the_same_scores(directory: Path, model: Any, vectors: Any) -> None:
    read, packed = (
        load(directory),
        artifact.read_packed(files.pack(directory), features=FEATURES, feature_table_hash="ab12"),
    )
    for one in (read, packed):
        assert one.sha256 == manifest.sha256((directory / "manifest.json").read_bytes())
        assert one.score(vectors).tobytes() == model.score(vectors).tobytes()
    assert (read.name, read.thresholds) == ("small", {"hold": 0.5, "block": 0.9})
    assert sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.*")) == sorted(FILES)


def test_the_same_content_makes_the_same_bytes(content: artifact.Content, directory: Path, tmp_path: Path) -> None:
    artifact.write(tmp_path / "again", content)
    assert files.pack(tmp_path / "again") == files.pack(directory)
    files.lay(files.open_parcel(files.pack(directory)), tmp_path / "unpacked")
    assert files.pack(tmp_path / "unpacked") == files.pack(directory)


def test_an_artifact_that_is_there_is_not_written_over(content: artifact.Content, directory: Path) -> None:
    before = files.pack(directory)
    with pytest.raises(ArtifactRefused, match="there already"):
        artifact.write(directory, content)
    assert files.pack(directory) == before
    assert [path.name for path in directory.parent.iterdir()] == ["small"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(ArtifactRefused, match=name) as fault:
        load(directory)
    assert fault.value.reason == "missing"


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefused, match="no directory") as fault:
        load(tmp_path / "nowhere")
    assert fault.value.reason == "missing"


@pytest.mark.parametrize("name", FILES[1:])
def test_a_truncated_file_is_refused(directory: Path, name: str) -> None:
    path = directory / name
    path.write_bytes(path.read_bytes()[:-1])
    refused(directory, "truncated", name)
    path.write_bytes(b"")
    refused(directory, "truncated", name)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_an_altered_byte_is_refused(directory: Path, name: str, place: float) -> None:
    path = directory / name
    changed = bytearray(path.read_bytes())
    changed[round(place * (len(changed) - 1))] ^= 1
    path.write_bytes(changed)
    refused(directory, "altered", name)
    path.write_bytes(path.read_bytes() + b" ")
    refused(directory, "altered", name)


def test_a_truncated_manifest_is_refused(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_bytes(path.read_bytes()[:-100])
    refused(directory, "malformed", "manifest.json")


def test_a_manifest_of_another_shape_is_refused(directory: Path) -> None:
    rewrite(directory, lambda said: said.update(more=1))
    refused(directory, "malformed", "more")
    rewrite(directory, lambda said: (said.pop("more"), said.update(features=[])))  # type: ignore[func-returns-value]
    refused(directory, "malformed", "features")
    rewrite(directory, lambda said: said.update(features=list(FEATURES), created_at="2018-06-30T00:00:00"))
    refused(directory, "malformed", "time zone")


def test_another_format_is_refused(directory: Path) -> None:
    rewrite(directory, lambda said: said.update(format=2, what="else"))
    refused(directory, "format", "format 2")


def test_an_extra_file_is_refused(directory: Path) -> None:
    (directory / "forest.tl").write_bytes(b"not in the manifest")
    refused(directory, "unexpected", "forest.tl")
    (directory / "forest.tl").rename(directory / "notes.txt")
    with pytest.raises(ArtifactRefused, match=r"notes\.txt"):
        load(directory)


def test_links_and_directories_are_refused(directory: Path) -> None:
    card = directory / "card.md"
    card.rename(directory.parent / "elsewhere.md")
    card.symlink_to(directory.parent / "elsewhere.md")
    with pytest.raises(ArtifactRefused, match=r"card\.md") as fault:
        load(directory)
    assert fault.value.reason == "unexpected"
    card.unlink()
    card.mkdir()
    with pytest.raises(ArtifactRefused, match=r"card\.md"):
        load(directory)
    card.rmdir()
    os.mkfifo(card)
    with pytest.raises(ArtifactRefused, match="no plain file"):
        load(directory)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["supervised.tl", "manifest.json", "figures/weekly.svg"])
def test_a_pickle_is_refused_by_its_mark(directory: Path, name: str, protocol: int) -> None:
    (directory / name).write_bytes(pickle.dumps({"trees": []}, protocol))
    rewrite(directory, nothing) if name != "manifest.json" else None
    with pytest.raises(ArtifactRefused, match=name) as fault:
        load(directory)
    assert fault.value.reason == "pickle"


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "figures/x.PICKLE"])
def test_a_pickle_is_refused_by_its_name(directory: Path, name: str) -> None:
    (directory / name).write_bytes(pickle.dumps(1, 0))
    with pytest.raises(ArtifactRefused, match=name) as fault:
        load(directory)
    assert fault.value.reason == "pickle"


def test_other_features_are_refused(directory: Path) -> None:
    swapped = (FEATURES[1], FEATURES[0], *FEATURES[2:])
    refused(directory, "features", "another order from number 0", features=swapped)
    refused(directory, "features", "not computed: feature_7", features=FEATURES[:-1])
    refused(directory, "features", "not trained on: new", features=(*FEATURES, "new"))
    refused(directory, "feature_table", "train it again", feature_table_hash="cd34")


def test_swapped_features_in_the_manifest_are_refused(directory: Path) -> None:
    rewrite(directory, lambda said: said.update(features=list(reversed(FEATURES))))
    refused(directory, "features", "another order")
    # Even for a caller who swaps his own: the stored scores no longer come out.
    refused(directory, "score_check", features=tuple(reversed(FEATURES)))


def test_another_treelite_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(directory, lambda said: said["libraries"].update(treelite="3.9.1"))
    refused(directory, "library", "Treelite 3.9.1")
    major = treelite.__version__.split(".")[0]
    rewrite(directory, lambda said: said["libraries"].update(treelite=f"{major}.0.0", numpy="1.26"))
    load(directory)
    monkeypatch.setattr(treelite, "__version__", "5.0.0")
    refused(directory, "library", "this is 5.0.0")


def test_a_model_that_is_too_old_is_refused_where_its_age_counts(directory: Path, content: artifact.Content) -> None:
    edge = content.created_at + timedelta(seconds=content.max_age_s)
    load(directory, now=edge)
    refused(directory, "stale", "train it again", now=edge + timedelta(microseconds=1))


@pytest.mark.parametrize("score", ["nan", "inf", "-0x1p-1", "0x1.8p0"])
def test_a_stored_score_that_is_no_score_is_refused(directory: Path, score: str) -> None:
    edit(directory, "check.json", lambda said: said["scores"].__setitem__(3, score))
    refused(directory, "not_finite", "vector 3")


def test_a_score_that_differs_in_its_last_bit_is_refused(directory: Path) -> None:
    def nudge(said: Any) -> None:
        said["scores"][7] = float(np.nextafter(float.fromhex(said["scores"][7]), 1)).hex()

    edit(directory, "check.json", nudge)
    refused(directory, "score_check", "vector 7")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("check.json", lambda said: said["scores"].pop()),
        ("check.json", lambda said: said["scores"].__setitem__(0, "much")),
        ("check.json", lambda said: said["scores"].__setitem__(0, "0x1p9999")),
        ("check.json", lambda said: said.update(more=1)),
        ("calibration.json", lambda said: said.update(supervised=None)),
        ("calibration.json", lambda said: said.update(supervised=-1)),
        ("calibration.json", lambda said: said["platt"].update(a=0)),
        ("calibration.json", lambda said: said["line"].update(logits=[1, 0, 2, 3])),
        ("calibration.json", lambda said: said["thresholds"].update(hold=1.5)),
        ("calibration.json", lambda said: said["tail_copies"].pop()),
        ("calibration.json", lambda said: said["tail_copies"][0].update(feature="other")),
        ("calibration.json", lambda said: said["conformal"]["p_values"].pop()),
        ("tails.json", lambda said: said.clear()),
        ("tails.json", lambda said: said[0].update(knots=[])),
    ],
)
def test_a_part_of_another_shape_is_refused(directory: Path, name: str, change: Callable[[Any], Any]) -> None:
    edit(directory, name, change)
    refused(directory, "malformed")


@pytest.mark.parametrize("content_of", [b"", b"\x04\x00\x00\x00", b"no checkpoint at all"])
def test_a_checkpoint_that_is_none_is_refused(directory: Path, content_of: bytes) -> None:
    (directory / "supervised.tl").write_bytes(content_of)
    rewrite(directory, nothing)
    refused(directory, "malformed", "checkpoint")


def test_a_signature_is_checked_where_a_key_is_configured(content: artifact.Content, tmp_path: Path) -> None:
    trusted, other = signatures.new_key(tmp_path / "key.pem"), signatures.new_key(tmp_path / "other.pem")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    signed = tmp_path / "signed"
    artifact.write(signed, content, signatures.read_key(tmp_path / "key.pem"))
    assert load(signed, trusted_key=trusted).sha256 == load(signed).sha256
    refused(signed, "signature", "not by the configured key", trusted_key=other)
    refused(signed, "signature", "64 hexadecimal digits", trusted_key="no key")
    rewrite(signed, lambda said: said.update(max_age_s=1))
    refused(signed, "signature", trusted_key=trusted)
    (signed / "manifest.sig").write_bytes(b"short")
    refused(signed, "signature", trusted_key=trusted)
    (signed / "manifest.sig").unlink()
    refused(signed, "unsigned", trusted_key=trusted)


def test_a_file_that_holds_no_signing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nothing")
    with pytest.raises(ModelError, match=r"key\.pem"):
        signatures.read_key(tmp_path / "key.pem")


def test_what_is_too_large_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = files.pack(directory)
    monkeypatch.setattr(files, "BYTES", 1_000)
    for attempt in (lambda: load(directory), lambda: files.open_parcel(parcel)):
        with pytest.raises(ArtifactRefused) as fault:
            attempt()
        assert fault.value.reason == "too_large"
    monkeypatch.setattr(files, "BYTES", 2**26)
    monkeypatch.setattr(files, "FILES", 3)
    with pytest.raises(ArtifactRefused, match="files"):
        load(directory)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "figures/../../evil.svg", "figures/a/b.svg", "card.md\x00", ""]
)
def test_a_parcel_cannot_write_elsewhere(directory: Path, tmp_path: Path, name: str) -> None:
    parcel = files.PARCEL + msgspec.msgpack.encode([*files.collect(directory).items(), (name, b"evil")])
    with pytest.raises(ArtifactRefused) as fault:
        files.lay(files.open_parcel(parcel), tmp_path / "new")
    assert fault.value.reason == "unexpected"
    assert not (tmp_path / "new").exists()


def test_a_parcel_holds_no_name_twice(directory: Path) -> None:
    pairs = [*files.collect(directory).items(), ("card.md", b"another")]
    with pytest.raises(ArtifactRefused, match="twice"):
        files.open_parcel(files.PARCEL + msgspec.msgpack.encode(pairs))


PLACES = st.integers(0, 2**24)


@given(place=PLACES, bit=st.integers(0, 7), end=PLACES)
@example(place=len(files.PARCEL) + 3, bit=7, end=0)  # a name that is no UTF-8
@examples(60)
def test_a_parcel_with_a_damaged_byte_never_loads(parcel: bytes, place: int, bit: int, end: int) -> None:
    damaged = bytearray(parcel)
    damaged[place % len(parcel)] ^= 1 << bit
    cut = parcel[: end % len(parcel)]
    for content_of in (cut, bytes(damaged)):
        # What a manifest says freely (a figure, a date, a name) only its own hash or a signature can protect.
        try:
            found = artifact.read_packed(content_of, features=FEATURES, feature_table_hash="ab12")
        except ArtifactRefused:
            continue
        assert found.sha256 != artifact.read_packed(parcel, features=FEATURES, feature_table_hash="ab12").sha256


@pytest.fixture(scope="session")
def parcel(content: artifact.Content) -> bytes:
    return files.parcel(artifact.build(content))


def test_content_that_would_not_load_is_not_written(content: artifact.Content, tmp_path: Path) -> None:
    faulty = [
        replace(content, calibration=Calibration()),
        replace(content, calibration=Calibration(supervised=1.0, platt=Platt(float("nan"), 0.0))),
        replace(content, tails=None),
        replace(content, calibration=Calibration(unsupervised=1.0, line=Line((1.0,), (1.0,)))),
        replace(content, tails=(Tail("feature_0", "high", 1.0, (float("inf"),), (0.0, 1.0)),)),
        replace(content, check=content.check[:5]),
        replace(content, name="../small"),
        replace(content, pictures={"x.html": b""}),
    ]
    for one in faulty:
        with pytest.raises(ArtifactRefused):
            artifact.write(tmp_path / "new", one)
        assert not any(tmp_path.iterdir())


def test_the_registry_lists_and_finds(directory: Path) -> None:
    root = directory.parent
    (root / "empty").mkdir()
    assert registry.list_artifacts(root) == ("small",)
    assert registry.list_artifacts(root / "nowhere") == ()
    assert registry.find(root, "small") == directory
    for name in ("empty", "..", "../models", "small\n", "", "Small"):
        with pytest.raises(ArtifactUnknown, match="there are: small"):
            registry.find(root, name)
    assert isinstance(registry.list_artifacts(), tuple)
