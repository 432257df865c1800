"""Model guidance for the host's samplers: tuned and base prediction at each step, combined.

``D = D_base + w (D_tuned - D_base) - k (x - D_base)``: FineXtract's published sampler in denoised
form, `core.guidance.model_guidance`. The first two terms are the host's own CFG function with the
base in the place of the unconditional prediction, so that nodes which hook into CFG work here too.
"""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..core.backends.rows import RowAdapter
from ..core.types import BASE, TUNED
from ._pair import place
from ._suspect import Suspect

log = logging.getLogger(__name__)
KEY = "lora_forensics"
ROLES = ("positive", "negative")
STRENGTHS = (TUNED, BASE)


class ModelGuider(comfy.samplers.CFGGuider):
    """What both guiders share: the rule. ``positive`` is the tuned model's, ``negative`` base's."""

    def set_rule(self, weight: float, correction: float) -> None:
        """The guidance weight w' and the correction k."""
        self.cfg, self.correction = weight, correction

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: Any = None
    ) -> Tensor:
        """The guided denoised latent, like every guider's despite the host's name for it."""
        options = model_options or {}
        tuned, base = self.predictions(x, timestep, options)
        guided = comfy.samplers.cfg_function(
            self.inner_model,
            tuned,
            base,
            self.cfg,
            x,
            timestep,
            model_options=options,
            cond=self.conds["positive"],
            uncond=self.conds["negative"],
        )
        return guided - self.correction * (x - base) if self.correction else guided

    def predictions(self, x: Tensor, timestep: Tensor, options: Any) -> tuple[Tensor, Tensor]:
        """Denoised latents of tuned and base model."""
        raise NotImplementedError


class OneNetworkGuider(ModelGuider):
    """Base and adapter in one network: one batched forward, the adapter acting on tuned rows."""

    def __init__(self, suspect: Suspect):
        patcher = suspect.base.clone()
        patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, self._by_rows)
        super().__init__(patcher)
        self._changes = suspect.changes
        self._adapter: RowAdapter | None = None

    def predictions(self, x: Tensor, timestep: Tensor, options: Any) -> tuple[Tensor, Tensor]:
        """Both in one call of the host, which splits it if memory is short."""
        conds = [self.conds[role] for role in ROLES]
        tuned, base = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, options)
        return tuned, base

    def inner_sample(self, *args: Any, **more: Any) -> Tensor:
        """The adapter hangs on the network while sampling runs, and never longer."""
        self._adapter = place(self.model_patcher, self._changes)
        try:
            return super().inner_sample(*args, **more)
        finally:
            self._adapter.close()
            self._adapter = None

    def _by_rows(self, executor: Any, x: Tensor, *args: Any, **more: Any) -> Tensor:
        if self._adapter is None:
            return executor(x, *args, **more)
        options = next(
            v for v in (*args, *more.values()) if isinstance(v, dict) and "cond_or_uncond" in v
        )
        roles = options["cond_or_uncond"]
        strength = torch.tensor([STRENGTHS[role] for role in roles], device=x.device)
        with self._adapter.rows(strength.repeat_interleave(len(x) // len(roles))):
            return executor(x, *args, **more)


class TwoNetworksGuider(ModelGuider):
    """Two checkpoints: both stay loaded, one forward each."""

    def __init__(self, suspect: Suspect):
        patcher = suspect.base.clone()
        patcher.set_additional_models(KEY, [suspect.tuned])
        super().__init__(patcher)
        self._second: Any = None
        self._second_conds: list[Any] = []

    def predictions(self, x: Tensor, timestep: Tensor, options: Any) -> tuple[Tensor, Tensor]:
        """One forward each."""
        (base,) = comfy.samplers.calc_cond_batch(
            self.inner_model, [self.conds["negative"]], x, timestep, options
        )
        second = comfy.model_patcher.create_model_options_clone(self._second.model_options)
        second["transformer_options"]["sample_sigmas"] = options["transformer_options"][
            "sample_sigmas"
        ]
        (tuned,) = comfy.samplers.calc_cond_batch(
            self._second.model, [self._second_conds], x, timestep, second
        )
        return tuned, base

    def outer_sample(self, *args: Any, **more: Any) -> Tensor:
        """The second model is made ready for the run and cleaned up after it."""
        self._second = self.model_patcher.get_additional_models_with_key(KEY)[0]
        try:
            self._second.pre_run()
            return super().outer_sample(*args, **more)
        finally:
            self._second.cleanup()
            self._second, self._second_conds = None, []

    def inner_sample(
        self, noise: Tensor, latent_image: Tensor, device: Any, *args: Any, **more: Any
    ) -> Tensor:
        """The second model processes its own conditions."""
        conds = {
            "positive": comfy.sampler_helpers.convert_cond(
                [[c.get("cross_attn"), c] for c in self.original_conds["positive"]]
            )
        }
        processed = comfy.samplers.process_conds(self._second.model, noise, conds, device)
        self._second_conds = processed["positive"]
        return super().inner_sample(noise, latent_image, device, *args, **more)


def guider_of(suspect: Suspect) -> ModelGuider:
    """The guider that fits how the suspect is held; the log says which."""
    log.info("%s: %s", suspect.name, suspect.mode)
    return TwoNetworksGuider(suspect) if suspect.own_network else OneNetworkGuider(suspect)
