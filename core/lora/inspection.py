"""Findings about an adapter without sampling: what it claims, what it holds, what does not fit."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from ..errors import plural
from .binding import Binding, Coverage
from .claims import Claims, Exposure, exposure, read_claims
from .formats import LoraFile
from .header import legacy_hash, sha256_file
from .safeguard import clean_text, stop_words
from .spectra import BlockEnergy, ModuleSpectrum, block_energy, spectrum

_MISMATCH = (
    "the tensors do not give the hash that the trainer recorded: the weights were edited, "
    "resized, merged or converted after training, or the record was changed"
)

_HASH_OF_NOTHING = hashlib.sha256(b"").hexdigest()[:8]
_TOO_SMALL = (
    "the file is too small to check: this hash covers the bytes from 1 MiB on, and there are none"
)


class Severity(IntEnum):
    """How much a finding should weigh with a reader; the order is part of the contract."""

    INFO = 0
    NOTE = 1
    WARNING = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation with its reason and its evidence."""

    severity: Severity
    subject: str
    message: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that can be said about an adapter file without sampling.

    Attributes:
        ranks: stored rank (as text, ``none`` where it is not kept) -> modules.
        kinds: operator kind -> modules.
        text_encoder_share: share of the squared norm outside the UNet, 0 to 1.
        stop_words: signs of a minor; sampling must not start while any is listed.
    """

    path: str
    sha256: str
    tensor_sha256: str
    format: str
    family: str
    modules: int
    kinds: dict[str, int]
    ranks: dict[str, int]
    claims: Claims
    exposure: Exposure | None
    stop_words: tuple[str, ...]
    spectra: tuple[ModuleSpectrum, ...]
    blocks: tuple[BlockEnergy, ...]
    text_encoder_share: float
    coverage: tuple[Coverage, ...]
    findings: tuple[Finding, ...]

    @property
    def sampling_allowed(self) -> bool:
        """Whether no sign of a minor was found in the file's name and metadata."""
        return not self.stop_words


def inspect_lora(
    lora: LoraFile,
    binding: Binding | None = None,
    *,
    base: Path | None = None,
    base_sha256: str = "",
) -> Inspection:
    """Inspects an adapter that was read, and its place on a base if one is given.

    The spectra are those of the additive change; DoRA's rescaling needs the base weights.

    Args:
        lora: the adapter.
        binding: its place on a base.
        base: where that base was read; it is compared with the one that the adapter names.
        base_sha256: hash of the base's file where it is known already.
    """
    claims = read_claims(lora.metadata)
    passes = exposure(claims)
    stops = tuple(stop_words([lora.path.name, *lora.metadata, *lora.metadata.values()]))
    spectra = _spectra(lora, binding)
    blocks = block_energy(spectra)
    return Inspection(
        path=clean_text(str(lora.path)),
        sha256=lora.sha256,
        tensor_sha256=lora.tensor_sha256,
        format=lora.format,
        family=lora.family,
        modules=len(lora.modules),
        kinds=dict(Counter(item.kind for item in spectra)),
        ranks=dict(Counter(str(item.rank or "none") for item in spectra)),
        claims=claims,
        exposure=passes,
        stop_words=stops,
        spectra=spectra,
        blocks=blocks,
        text_encoder_share=sum(b.share for b in blocks if b.component != "unet"),
        coverage=binding.coverage if binding else (),
        findings=(
            *_stop_findings(stops),
            *_hash_findings(lora),
            *(() if base is None else (match_base(lora.metadata, base, base_sha256),)),
            *_claim_findings(lora, claims, passes),
            *_weight_findings(lora, binding, spectra),
        ),
    )


def match_base(metadata: Mapping[str, str], base: Path, sha256: str = "") -> Finding:
    """Compares the base model's hashes that the adapter claims with a base file.

    Args:
        metadata: the adapter's.
        base: checkpoint file of the base model, or a folder, which has no hash to compare.
        sha256: of the file where it is known already.
    """
    claimed, legacy = metadata.get("ss_new_sd_model_hash"), metadata.get("ss_sd_model_hash")
    if not claimed and not legacy:
        return Finding(Severity.NOTE, "base", "the adapter does not say which base it was made on")
    theirs = clean_text(claimed or legacy or "", 80).lower()
    if not base.is_file():
        message = "the adapter names its base by the hash of one file; a folder cannot be compared"
        return Finding(Severity.NOTE, "base", message, f"claimed {theirs}")
    ours = (sha256 or sha256_file(base)) if claimed else legacy_hash(base)
    evidence = f"claimed {theirs}, given {ours}"
    if ours == theirs == _HASH_OF_NOTHING:
        return Finding(Severity.NOTE, "base", _TOO_SMALL, evidence)
    if ours == theirs:
        return Finding(
            Severity.INFO, "base", "the base file is the one the adapter names", evidence
        )
    return Finding(
        Severity.WARNING,
        "base",
        "the base file is not the one the adapter names; a wrong base can invalidate every "
        "membership score. A converted or pruned copy of the right base also differs here",
        evidence,
    )


def _spectra(lora: LoraFile, binding: Binding | None) -> tuple[ModuleSpectrum, ...]:
    if binding is not None:
        return tuple(spectrum(*pair) for pair in binding.pairs)
    return tuple(spectrum(m.component, m.name, m.operator) for m in lora.modules)


def _stop_findings(stops: tuple[str, ...]) -> Iterable[Finding]:
    if stops:
        yield Finding(
            Severity.WARNING,
            "minors",
            "words that may point to a minor were found; sampling is not allowed. "
            "Analysis of the weights alone may go on",
            ", ".join(stops),
        )


def _hash_findings(lora: LoraFile) -> Iterable[Finding]:
    for key, value in lora.recomputed.items():
        claimed = lora.metadata[key].lower()
        evidence = f"claimed {clean_text(claimed, 80)}, computed {value}"
        if claimed == value == _HASH_OF_NOTHING:
            yield Finding(Severity.INFO, key, _TOO_SMALL, evidence)
        elif claimed == value:
            yield Finding(Severity.INFO, key, "the tensors match the recorded hash", evidence)
        else:
            yield Finding(Severity.WARNING, key, _MISMATCH, evidence)
    stated = lora.metadata.get("modelspec.hash_sha256", "").lower().removeprefix("0x")
    if stated and stated != lora.tensor_sha256:
        yield Finding(
            Severity.NOTE,
            "modelspec.hash_sha256",
            "differs from the hash of the tensor bytes; writers order tensors differently, so "
            "this alone does not show an edit",
            f"claimed {clean_text(stated, 80)}, computed {lora.tensor_sha256}",
        )


def _claim_findings(lora: LoraFile, claims: Claims, passes: Exposure | None) -> Iterable[Finding]:
    if not claims.text and not claims.datasets:
        yield Finding(
            Severity.NOTE, "metadata", "no training metadata; it was removed or never written"
        )
    for key in claims.unreadable:
        yield Finding(Severity.WARNING, key, "holds no readable JSON, or too much of it")
    if "merged_from" in claims.text:
        yield Finding(
            Severity.WARNING, "merged_from", "says that it is a merge", claims.text["merged_from"]
        )
    if "modelspec.thumbnail" in lora.metadata:
        yield Finding(
            Severity.NOTE, "modelspec.thumbnail", "carries an embedded picture, not opened"
        )
    if claims.trigger_words:
        yield Finding(
            Severity.INFO, "trigger words", "candidates", ", ".join(claims.trigger_words[:20])
        )
    if passes is not None:
        evidence = (
            f"{passes.passes:.1f} passes = {claims.steps} steps x {claims.batch} / {claims.images}"
        )
        yield Finding(
            Severity.INFO, "exposure", f"if the metadata is true: {passes.reading}", evidence
        )


def _weight_findings(
    lora: LoraFile, binding: Binding | None, spectra: tuple[ModuleSpectrum, ...]
) -> Iterable[Finding]:
    for warning in binding.warnings if binding else lora.warnings:
        yield Finding(Severity.WARNING, "weights", warning)
    silent = sum(item.frobenius == 0 and not item.kind.endswith("dora") for item in spectra)
    if silent:
        yield Finding(
            Severity.NOTE, "weights", f"no change by {silent} of {plural(len(spectra), 'module')}"
        )
    yield from _rank_findings(lora, spectra)


def _rank_findings(lora: LoraFile, spectra: tuple[ModuleSpectrum, ...]) -> Iterable[Finding]:
    ranks = Counter(item.rank for item in spectra if item.rank is not None)
    claimed = lora.metadata.get("ss_network_dim", "")
    if len(ranks) > 3:
        yield Finding(
            Severity.NOTE,
            "rank",
            "many ranks: typical of a file resized after training",
            str(dict(ranks)),
        )
    if claimed.isdecimal() and ranks and int(claimed[:9]) not in ranks:
        yield Finding(
            Severity.NOTE,
            "rank",
            f"no module has the rank {clean_text(claimed, 20)} that the metadata states",
            str(dict(ranks)),
        )
