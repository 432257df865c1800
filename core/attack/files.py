"""A trained attack as one file: exact float32 weights of every seed, and the facts behind them.

The file is safetensors. ``seed-K.<tensor>`` is the ResNet-18 of seed K; ``seed-K.heldout_logits``
and ``seed-K.heldout_labels`` are its held-out generated images, if any, as tensors because a long
run has more of them than a header may hold. The metadata are ``format``, ``schema_version`` and two
JSON texts: ``classifiers`` (seed, side, losses, accuracy, curve, epoch) and ``facts``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Never

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from .. import __version__
from ..errors import InputError, plural
from ..lora.header import SafetensorsHeader, load_tensors, read_header, strict_json
from ..specs import AttackSpec, default_of
from ..storage import write_atomic
from ..types import ModelHashes
from .classifier import TrainedClassifier, build_classifier

FORMAT, SCHEMA = "lora-forensics-attack", "1"
MAX_SIDE = {f.name: f.metadata["high"] for f in fields(AttackSpec)}["side"]
_FACTS: dict[str, type] = {
    "tool_version": str,
    "base_sha256": str,
    "tuned_sha256": str,
    "prompts": list,
    "negatives_from": str,
    "pretrained": bool,
    "images": int,
    "forwards": int,
    "spec": dict,
}
_CLASSIFIER: dict[str, type] = {"seed": int, "side": int, "losses": list}
_BEFORE = {
    "augment": "shift",
    "holdout": 0.15,
    "selection": "last",
    "scores": "logits",
    "test_holdout": 0.0,
    "codec": "on",
    "precision": "float32",
}
"""What files were trained with that were written before these settings were."""
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}
_LOGITS, _LABELS = "heldout_logits", "heldout_labels"


@dataclass(frozen=True, slots=True, eq=False)
class AttackModel:
    """An attack on one tuned model, ready to score photos.

    Attributes:
        classifiers: one a seed.
        facts: what it was trained on, as `attack_facts` makes them; plain JSON.
    """

    classifiers: tuple[TrainedClassifier, ...]
    facts: dict[str, Any]

    @property
    def spec(self) -> AttackSpec:
        """The settings it was trained with."""
        return _spec(self.facts["spec"])


def attack_facts(
    spec: AttackSpec,
    hashes: ModelHashes,
    prompts: Sequence[str],
    *,
    negatives_from: str,
    pretrained: bool,
    images: int,
    forwards: int,
) -> dict[str, Any]:
    """The provenance of an attack.

    Args:
        spec: settings of sampling and training.
        hashes: of the models that made the images.
        prompts: of both arms.
        negatives_from: ``base``, ``folder`` or ``shadow``.
        pretrained: whether the backbone started from ImageNet weights.
        images: images an arm.
        forwards: denoiser rows spent.
    """
    facts = {
        "tool_version": __version__,
        "base_sha256": hashes.base,
        "tuned_sha256": hashes.tuned,
        "prompts": list(prompts),
        "negatives_from": negatives_from,
        "pretrained": pretrained,
        "images": images,
        "forwards": forwards,
        "spec": asdict(spec),
    }
    return json.loads(json.dumps(facts, allow_nan=False))


def save_attack(model: AttackModel, path: str | Path) -> None:
    """Write an attack as one safetensors file, whole or not at all.

    Raises:
        InputError: a weight or loss is not finite (NON_FINITE), a fact is missing or two
            classifiers share a seed (WRONG_WEIGHTS).
        RunError: the folder cannot be written (NOT_WRITABLE).
    """
    _check_facts(model.facts)
    told = [_told(c) for c in model.classifiers]
    _check_classifiers(told)
    tensors: dict[str, Tensor] = {}
    for c in model.classifiers:
        own = dict(c.module.state_dict())
        if len(c.heldout_labels):  # an empty tensor is no sound part of a safetensors file
            own |= {_LOGITS: c.heldout_logits, _LABELS: c.heldout_labels}
        tensors |= {f"seed-{c.seed}.{k}": t.detach().cpu().contiguous() for k, t in own.items()}
    _check_finite(tensors)
    metadata = {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "classifiers": json.dumps(told, allow_nan=False),
        "facts": json.dumps(model.facts, allow_nan=False),
    }
    write_atomic(Path(path), save_safetensors(tensors, metadata))


def load_attack(path: str | Path) -> AttackModel:
    """Read an attack; its scores equal those before it was saved, bit for bit.

    Header, facts, names, shapes and dtypes are checked before a tensor is read.

    Raises:
        InputError: the file is no attack or a damaged one (WRONG_WEIGHTS), of another schema
            (WRONG_SCHEMA), holds NaN or infinity (NON_FINITE), settings out of bounds
            (BAD_SETTING), or is no sound safetensors file (the codes of `read_header`).
    """
    header = read_header(path)
    _check_format(header.metadata, Path(path).name)
    told = strict_json(header.metadata.get("classifiers", "null").encode())
    facts = strict_json(header.metadata.get("facts", "null").encode())
    _check_facts(facts)
    _check_classifiers(told)
    _check_tensors(header, [c["seed"] for c in told])
    tensors = load_tensors(path)
    _check_finite(tensors)
    return AttackModel(tuple(_classifier(c, tensors) for c in told), facts)


def _told(c: TrainedClassifier) -> dict[str, Any]:
    return {
        "seed": c.seed,
        "side": c.side,
        "losses": list(c.losses),
        "heldout_accuracy": None if math.isnan(c.heldout_accuracy) else c.heldout_accuracy,
        "curve": [list(point) for point in c.curve],
        "epoch": c.epoch,
    }


def _classifier(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TrainedClassifier:
    start = f"seed-{told['seed']}."
    own = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
    logits = own.pop(_LOGITS, torch.empty(0, dtype=torch.float64))
    labels = own.pop(_LABELS, torch.empty(0, dtype=torch.int64))
    if not ((labels == 0) | (labels == 1)).all():
        _wrong(f"labels other than 0 and 1 in {start}{_LABELS}")
    with torch.device("meta"):  # no random numbers are drawn for weights that are replaced
        module = build_classifier()
    module.load_state_dict(own, strict=True, assign=True)
    accuracy = told["heldout_accuracy"]
    return TrainedClassifier(
        module.eval().requires_grad_(False),
        told["side"],
        told["seed"],
        tuple(map(float, told["losses"])),
        math.nan if accuracy is None else accuracy,
        logits,
        labels,
        tuple((float(loss), float(share)) for loss, share in told.get("curve", [])),
        told.get("epoch", 0),
    )


def _check_format(metadata: Mapping[str, str], name: str) -> None:
    given, schema = metadata.get("format"), metadata.get("schema_version")
    if given != FORMAT:
        raise InputError(
            "WRONG_WEIGHTS",
            f"{name} says format {str(given)[:60]!r}, expected {FORMAT!r}; give a file that the "
            "attack was saved to",
        )
    if schema != SCHEMA:
        raise InputError(
            "WRONG_SCHEMA",
            f"{name} has schema {str(schema)[:60]!r}, expected {SCHEMA!r}; load it with the "
            "version that wrote it, or train the attack again",
        )


def _check_facts(facts: Any) -> None:
    _check_fields(facts, _FACTS, "facts")
    if not all(isinstance(p, str) for p in facts["prompts"]):
        _wrong("prompts that are not text")
    _spec(facts["spec"])


def _check_classifiers(told: Any) -> None:
    if not isinstance(told, list) or not told:
        _wrong("no list of classifiers")
    for c in told:
        _check_classifier(c)
    if len({c["seed"] for c in told}) < len(told):
        _wrong("two classifiers of one seed")


def _check_classifier(c: Any) -> None:
    _check_fields(c, _CLASSIFIER, "a classifier")
    curve, epoch = c.get("curve", []), c.get("epoch", 0)
    if not isinstance(curve, list) or any(type(p) is not list or len(p) != 2 for p in curve):
        _wrong("a curve that is no list of pairs")
    if type(epoch) is not int or not 0 <= epoch <= len(c["losses"]):
        _wrong(f"epoch {str(epoch)[:60]!r} of {len(c['losses'])}")
    accuracy = c.get("heldout_accuracy", "")
    numbers = [*c["losses"], *(v for p in curve for v in p), 0 if accuracy is None else accuracy]
    if not all(type(v) in (int, float) for v in numbers):
        _wrong("losses that are not numbers")
    if not all(math.isfinite(v) for v in numbers):
        _not_finite(f"loss of seed {c['seed']}")
    if not 1 <= c["side"] <= MAX_SIDE:
        _wrong(f"input side {c['side']}, expected 1 to {MAX_SIDE}")


def _check_fields(given: Any, wanted: Mapping[str, type], name: str) -> None:
    if not isinstance(given, dict):
        _wrong(f"no {name}")
    bad = [key for key, kind in wanted.items() if type(given.get(key)) is not kind]
    if bad:
        _wrong(f"{name} without a sound {', '.join(bad)}")


def _check_tensors(header: SafetensorsHeader, seeds: Sequence[int]) -> None:
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
        _wrong(f"{plural(len(odd), 'tensor')} missing, unknown or misshapen, such as {odd[0]!r}")


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            _not_finite(f"tensor {name!r}")


def _spec(given: Any) -> AttackSpec:
    known = {f.name: default_of(f) for f in fields(AttackSpec)}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        _wrong(f"unknown settings, such as {unknown[0][:60]!r}")
    return AttackSpec(**{k: _setting(k, v, known[k]) for k, v in {**_BEFORE, **given}.items()})


def _setting(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        values = value if isinstance(value, list) else [None]
        return tuple(_setting(name, v, default[0]) for v in values)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        _wrong(f"setting {name} {str(value)[:60]!r}, expected a {type(default).__name__}")
    return value


def _wrong(found: str) -> Never:
    raise InputError(
        "WRONG_WEIGHTS",
        f"the attack holds {found}; give a file as it was saved, or train the attack again",
    )


def _not_finite(name: str) -> Never:
    raise InputError(
        "NON_FINITE",
        f"{name} holds NaN or infinity; train the attack again with a smaller learning rate",
    )
