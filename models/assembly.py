"""From files to a model. Law: every part is checked as it is put in, and a part that is no number never gets in."""

from typing import TypeVar

import msgspec
import numpy as np

from models import calibration as calibrations
from models import files as stored
from models import reference as references
from models.calibration import Calibration, Conformal, PValues, curve
from models.errors import ArtifactRefused
from models.files import Files
from models.manifest import Manifest
from models.model import Model
from models.reference import Reference
from models.tails import Tail, tails
from models.trees import trees

Shape = TypeVar("Shape")


def assemble(files: Files, manifest: Manifest, sha256: str) -> Model:
    """The model that the files hold; call it only once their hashes hold."""
    features = manifest.features
    calibration = parse(files, stored.CALIBRATION, Calibration)
    calibrations.check(calibration, features, stored.TREES in files, stored.TAILS in files)
    copies = calibration.tail_copies
    width = len(features) + len(copies)
    reference = parse(files, stored.REFERENCE, Reference) if stored.REFERENCE in files else None
    if reference is not None:
        references.check(reference, features)
    return Model(
        name=manifest.name,
        sha256=sha256,
        features=features,
        thresholds=calibration.thresholds,
        manifest=manifest,
        calibration=calibration,
        trees=trees(files[stored.TREES], width) if stored.TREES in files else None,
        tails=tails(parse(files, stored.TAILS, tuple[Tail, ...]), features) if stored.TAILS in files else None,
        curve=curve(calibration.line) if calibration.line else None,
        conformal=_p_values(calibration.conformal) if calibration.conformal else None,
        copied=np.array([features.index(copy.feature) for copy in copies], dtype=np.intp),
        floors=np.array([copy.floor for copy in copies], dtype=np.float64),
        reference=reference,
    )


def parse(files: Files, name: str, shape: type[Shape]) -> Shape:
    """The JSON file `name`, strictly in its shape."""
    try:
        return msgspec.json.decode(files[name], type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise ArtifactRefused("malformed", f"{name}: {fault}") from fault


def _p_values(conformal: Conformal) -> PValues:
    return PValues(np.array(conformal.scores, dtype=np.float64), np.array(conformal.p_values, dtype=np.float64))
