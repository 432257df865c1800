"""A trained attack as one file: exact float32 weights of every seed, and the facts behind them.

The file is safetensors. ``seed-K.<tensor>`` is the ResNet-18 of seed K; ``seed-K.heldout_logits``
and ``seed-K.heldout_labels`` are its held-out generated images, if any, as tensors because a long
run has more of them than a header may hold. The metadata are ``format``, ``schema_version`` and two
JSON texts: ``classifiers`` (a list of `SeedFacts`) and ``facts`` (`AttackFacts`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from .. import __version__
from ..errors import InputError, plural
from ..lora.header import SafetensorsHeader, load_tensors, read_header
from ..records import Reader, strict_json
from ..specs import AttackSpec
from ..storage import write_atomic
from .classifier import Curve, TrainedClassifier, build_classifier

FORMAT, SCHEMA = "lora-forensics-attack", "1"
MAX_SIDE = {f.name: f.metadata["high"] for f in fields(AttackSpec)}["side"]
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}
_LOGITS, _LABELS = "heldout_logits", "heldout_labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackFacts:
    """The provenance of an attack.

    Attributes:
        base_sha256, tuned_sha256: of the models that made the images.
        prompts: of both arms.
        negatives_from: ``base``, ``folder`` or ``shadow``.
        pretrained: whether the backbone started from ImageNet weights.
        images: images per arm.
        forwards: denoiser rows spent.
        spec: settings of sampling and training.
        tool_version: of the tool that trained it.
    """

    base_sha256: str
    tuned_sha256: str
    prompts: tuple[str, ...]
    negatives_from: str
    pretrained: bool
    images: int
    forwards: int
    spec: AttackSpec
    tool_version: str = __version__


@dataclass(frozen=True, slots=True)
class SeedFacts:
    """What the file says of one classifier beside its tensors; fields as in `TrainedClassifier`.

    ``heldout_accuracy`` is None where no image was held out: JSON has no NaN.
    """

    seed: int
    side: int
    losses: tuple[float, ...]
    heldout_accuracy: float | None
    curve: Curve
    epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class AttackModel:
    """An attack on one tuned model, ready to score photos.

    Attributes:
        classifiers: one per seed.
        facts: what it was trained on.
    """

    classifiers: tuple[TrainedClassifier, ...]
    facts: AttackFacts

    @property
    def spec(self) -> AttackSpec:
        """The settings it was trained with."""
        return self.facts.spec


def save_attack(model: AttackModel, path: str | Path) -> None:
    """Write an attack as one safetensors file, whole or not at all.

    Raises:
        InputError: a weight or loss is not finite (NON_FINITE), or two classifiers share a seed
            (WRONG_WEIGHTS).
        RunError: the folder cannot be written (NOT_WRITABLE).
    """
    seeds = [_facts_of(c) for c in model.classifiers]
    _check_seeds(seeds, _reader(path))
    tensors: dict[str, Tensor] = {}
    for c in model.classifiers:
        own = dict(c.module.state_dict())
        if len(c.heldout_labels):  # an empty tensor is not a sound part of a safetensors file
            own |= {_LOGITS: c.heldout_logits, _LABELS: c.heldout_labels}
        tensors |= {f"seed-{c.seed}.{k}": t.detach().cpu().contiguous() for k, t in own.items()}
    numbers = {f"losses of seed {s.seed}": torch.tensor([*s.losses, *sum(s.curve, ())])
               for s in seeds}  # fmt: skip
    _check_finite(tensors | numbers)
    metadata = {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "classifiers": json.dumps([asdict(s) for s in seeds], allow_nan=False),
        "facts": json.dumps(asdict(model.facts), allow_nan=False),
    }
    write_atomic(Path(path), save_safetensors(tensors, metadata))


def load_attack(path: str | Path) -> AttackModel:
    """Read an attack; its scores equal those before it was saved, bit for bit.

    Header, facts, names, shapes and dtypes are checked before a tensor is read.

    Raises:
        InputError: the file is not an attack or a damaged one (WRONG_WEIGHTS), of another schema
            (WRONG_SCHEMA), holds NaN or infinity (NON_FINITE), settings out of bounds
            (BAD_SETTING), or is not a sound safetensors file (the codes of `read_header`).
    """
    header, reader = read_header(path), _reader(path)
    _check_format(header.metadata, reader)
    seeds = reader.record(tuple[SeedFacts, ...], _parsed(header, "classifiers"))
    facts = reader.record(AttackFacts, _parsed(header, "facts"))
    _check_seeds(seeds, reader)
    _check_tensors(header, [s.seed for s in seeds], reader)
    tensors = load_tensors(path)
    _check_finite(tensors)
    return AttackModel(tuple(_classifier(s, tensors, reader) for s in seeds), facts)


def _reader(path: str | Path) -> Reader:
    fix = "give a file that the attack was saved to, unchanged, or train the attack again"
    return Reader(Path(path).name, "WRONG_WEIGHTS", fix)


def _parsed(header: SafetensorsHeader, key: str) -> Any:
    return strict_json(header.metadata.get(key, "null").encode())


def _facts_of(c: TrainedClassifier) -> SeedFacts:
    accuracy = None if math.isnan(c.heldout_accuracy) else c.heldout_accuracy
    return SeedFacts(c.seed, c.side, c.losses, accuracy, c.curve, c.epoch)


def _classifier(
    facts: SeedFacts, tensors: Mapping[str, Tensor], reader: Reader
) -> TrainedClassifier:
    start = f"seed-{facts.seed}."
    own = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
    logits = own.pop(_LOGITS, torch.empty(0, dtype=torch.float64))
    labels = own.pop(_LABELS, torch.empty(0, dtype=torch.int64))
    if not ((labels == 0) | (labels == 1)).all():
        reader.refuse(f"{start}{_LABELS} holds labels other than 0 and 1")
    with torch.device("meta"):  # no random numbers are drawn for weights that are replaced
        module = build_classifier()
    module.load_state_dict(own, strict=True, assign=True)
    return TrainedClassifier(
        module=module.eval().requires_grad_(False),
        side=facts.side,
        seed=facts.seed,
        losses=facts.losses,
        heldout_accuracy=math.nan if facts.heldout_accuracy is None else facts.heldout_accuracy,
        heldout_logits=logits,
        heldout_labels=labels,
        curve=facts.curve,
        epoch=facts.epoch,
    )


def _check_format(metadata: Mapping[str, str], reader: Reader) -> None:
    given, schema = metadata.get("format"), metadata.get("schema_version")
    if given != FORMAT:
        reader.refuse(f"it says format {str(given)[:60]!r}, expected {FORMAT!r}")
    if schema != SCHEMA:
        wrong = f"it has schema {str(schema)[:60]!r}, expected {SCHEMA!r}"
        reader.refuse(wrong, code="WRONG_SCHEMA")


def _check_seeds(seeds: Sequence[SeedFacts], reader: Reader) -> None:
    if not seeds or len({s.seed for s in seeds}) < len(seeds):
        reader.refuse("it has no classifier, or two of one seed")
    for s in seeds:
        if not 0 <= s.epoch <= len(s.losses):
            reader.refuse(f"epoch of seed {s.seed} is {s.epoch}, expected 0 to {len(s.losses)}")
        if not 1 <= s.side <= MAX_SIDE:
            reader.refuse(f"side of seed {s.seed} is {s.side}, expected 1 to {MAX_SIDE}")


def _check_tensors(header: SafetensorsHeader, seeds: Sequence[int], reader: Reader) -> None:
    with torch.device("meta"):
        state = build_classifier().state_dict()
    wanted = {
        f"seed-{s}.{k}": (_DTYPES[t.dtype], tuple(t.shape)) for s in seeds for k, t in state.items()
    }
    given = {name: (t.dtype, t.shape) for name, t in header.tensors.items()}
    held = [s for s in seeds if any(f"seed-{s}.{k}" in given for k in (_LOGITS, _LABELS))]
    for s in held:
        length = given.get(f"seed-{s}.{_LABELS}", ("", ()))[1][:1]
        wanted[f"seed-{s}.{_LOGITS}"] = ("F64", length)
        wanted[f"seed-{s}.{_LABELS}"] = ("I64", length)
    odd = sorted(k for k in given.keys() | wanted.keys() if given.get(k) != wanted.get(k))
    if odd:
        reader.refuse(
            f"{plural(len(odd), 'tensor')} missing, unknown or misshapen, such as {odd[0]!r}"
        )


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(
                "NON_FINITE",
                f"{name} holds NaN or infinity; train the attack with a smaller learning rate",
            )
