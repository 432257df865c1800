"""Training a LoRA through a `ModelPair`: any host's model, asked for denoised latents.

The pair predicts ``D(x)`` in the coordinates of `sampling.noised`. The loss is that of the model's
own training: ``|x0 - D|^2 / sigma^2`` in noise or velocity units, and ``(sigma^2 + 1)`` times that
for v-prediction (data of variance 1). Full fine-tuning needs the whole network's gradients and is
`finetune`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..protocols import ModelPair, Progress, Rows
from ..sampling.plans import column, noised
from ..specs import FinetuneSpec
from ..storage import UNKEPT, Work
from ..types import BASE
from .learner import Lesson, check_counts, identity, learn, text_rows
from .learner_factors import Factors
from .store import Store
from .trained import Finetuned, Training, finetuned
from .views import MeanViews, fitted

_VARIANCES = {
    "epsilon": lambda sigma: sigma**2,
    "flow": lambda sigma: sigma**2,
    "v_prediction": lambda sigma: sigma**2 / (sigma**2 + 1),
}
"""Of the denoised latent's error where the prediction's is 1, by prediction."""


@dataclass(frozen=True, slots=True, eq=False)
class PairLearner:
    """`learner.Learner` on a pair whose base carries trainable factors.

    Attributes:
        pair: whose base rows the factors change.
        trainee: factors on its network.
        texts: text states; row 0 is the empty prompt.
        dtype: precision of the forward passes.
    """

    pair: ModelPair
    trainee: Factors
    texts: Rows
    dtype: torch.dtype = torch.float32

    def loss(self, clean: Tensor, noise: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        """See `Learner`."""
        sigma = self.pair.sigmas.cpu()[timesteps].double()
        noisy = noised(self.pair, clean, noise, sigma).float()
        denoised = self.pair(noisy, sigma, self.texts.select(texts.tolist()))
        error = (denoised - clean.to(denoised)).double().square()
        variance = _VARIANCES[self.pair.prediction](sigma).to(error)
        return (error / column(variance, error)).mean().float()


@dataclass(frozen=True, slots=True, eq=False)
class PairModel:
    """What a host gives to train on.

    Attributes:
        pair: base rows are trained on; its own tuned model is not asked.
        factors: makes the trainable pairs of the settings, when the network is loaded.
        dtype: precision of the network's forward pass.
        names: of a layer in the file, for each name of a factor; names missing stay.
    """

    pair: ModelPair
    factors: Callable[[FinetuneSpec], Factors]
    dtype: torch.dtype
    names: Mapping[str, str]


def finetune_pair(
    model: PairModel,
    images: Sequence[Tensor],
    captions: Sequence[str],
    spec: FinetuneSpec,
    *,
    family: str = "",
    work: Work = UNKEPT,
    unit: str = "finetune",
) -> Finetuned:
    """Train low-rank pairs on images with their captions; resumes like `finetune.finetune`.

    The latent of an image is what ``pair.encode`` gives: the mean of the codec's posterior, where
    `finetune.finetune` draws from the posterior. Hosts give no more. The standard deviation left
    out is far below that of the latents (SD's codec: some hundredths of it).

    Args:
        model: the host's.
        images: each ``[3, H, W]`` in 0..1; the short side is brought to the pair's resolution.
        captions: one per image.
        spec: all settings; method ``lora``.
        family: of the base for the file's metadata; the pair's own if empty.
        work: keeps finished parts, is told of steps.
        unit: name of the result in the case.

    Raises:
        NotEnoughDataError: NO_PHOTOS.
        InputError: NOT_A_LORA for full training, CAPTION_COUNT, BAD_SHAPE, BAD_PIXELS, NO_LAYERS.
        RunError: DIVERGED, NOT_WRITABLE.
    """
    check_counts(len(images), len(captions))
    _refuse_full(spec)
    pair = model.pair
    side = pair.resolution
    views = MeanViews([fitted(i, side) for i in images], side, spec.crop, pair)
    store = Store(work.case, f"{unit}/{identity(spec, views, captions, _facts(model))}")
    done = store.result()
    if done is None:
        done = _train(model, views, captions, spec, store, work.progress)
    training = Training(
        spec=spec,
        captions=tuple(captions),
        base_sha256=pair.hashes.base,
        family=family or pair.family,
        prediction=pair.prediction,
        resolution=side,
        dtype=model.dtype,
    )
    return finetuned(training, {_renamed(k, model.names): v for k, v in done.items()})


def _refuse_full(spec: FinetuneSpec) -> None:
    if spec.method != "lora":
        raise InputError(
            "NOT_A_LORA",
            "whole networks are trained by the command line (lora-forensics train --method full); "
            "here choose method lora",
        )


def _facts(model: PairModel) -> list[str]:
    return [model.pair.hashes.base, str(model.dtype), model.pair.prediction]


def _train(
    model: PairModel,
    views: MeanViews,
    captions: Sequence[str],
    spec: FinetuneSpec,
    store: Store,
    progress: Progress,
) -> dict[str, Tensor]:
    prompts, rows = text_rows(captions)
    # All before the network: a host may have to unload it for its codec and text encoders.
    with torch.no_grad():
        texts = model.pair.condition(prompts, [BASE] * len(prompts))
        views.encode_squares(mirrored=spec.flip > 0)
    with model.factors(spec) as factors:
        learner = PairLearner(model.pair, factors, texts, model.dtype)
        return learn(Lesson(learner, spec, views, rows), store, progress)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    layer, mark, factor = name.rpartition(".lora_")
    return f"{names.get(layer, layer)}{mark}{factor}"
