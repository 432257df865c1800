"""Counterfactuals on files: trained by `finetune`, kept in a case, opened as null models."""

from __future__ import annotations

from torch import Tensor

from ..backends.diffusers import DiffusersPair
from ..backends.loading import pair_of
from ..membership.null_ranks import NullModel
from ..protocols import QUIET, Progress
from ..specs import FinetuneSpec
from ..storage import CaseFolder, Work
from .counterfactual import Train
from .finetune import finetune
from .trained import save_lora


def training_on(
    pair: DiffusersPair, caption: str, case: CaseFolder, progress: Progress = QUIET
) -> Train:
    """A training for `counterfactual.counterfactual_group`; finished adapters are not repeated.

    Args:
        pair: the suspect on its base; its networks are shared, its strength is taken.
        caption: of every image.
        case: keeps the adapters.
        progress: counts optimizer steps.
    """

    def train(images: Tensor, spec: FinetuneSpec, number: int) -> NullModel:
        unit = f"counterfactual/{number:04d}"
        path = case.root / f"{unit}.safetensors"
        trained = finetune(
            pair.networks,
            list(images),
            [caption] * len(images),
            spec,
            work=Work(case, progress),
            unit=unit,
        )
        if not path.is_file():
            save_lora(trained, path)
        return NullModel(
            f"counterfactual-{number:04d}",
            lambda: pair_of(pair.networks, path, strength=pair.strength),
        )

    return train
