"""Grad-CAM of a classifier that the user brings: pictures in, heat maps and probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..images.heat import tinted
from ..images.photos import decode_file, png_bytes, to_tensor
from ..localization.classifiers import explain, load_classifier
from ..protocols import QUIET, Progress
from ..storage import write_atomic
from .intake import check_output, named_pictures
from .request import ExplainRequest


@dataclass(frozen=True, slots=True)
class ExplainedFile:
    """One picture: its logit and probability of the class, and where its heat map lies."""

    file: Path
    logit: float
    probability: float
    heat: Path


def explain_files(
    request: ExplainRequest, *, progress: Progress = QUIET
) -> tuple[ExplainedFile, ...]:
    """Explain every picture.

    Raises:
        ForensicsError: the classifier or a picture cannot be used.
    """
    check_output(request.out)
    files = named_pictures(request.pictures)
    classifier = load_classifier(
        request.classifier,
        request.architecture,
        request.layer,
        side=request.side,
        normalisation=request.normalization,
        device=request.device,
    )
    progress.start("explaining", len(files))
    explained = []
    for file, name in files:
        picture, _ = decode_file(file)
        explanation = explain(classifier, picture, request.target)
        heat = request.out / f"{name}-heat.png"
        write_atomic(request.out / f"{name}-map.png", png_bytes(explanation.map.expand(3, -1, -1)))
        write_atomic(heat, png_bytes(tinted(to_tensor(picture), explanation.map)))
        explained.append(ExplainedFile(file, explanation.logit, explanation.probability, heat))
        progress.step()
    return tuple(explained)
