"""RePaint as a generator, by any model pair: a diffusers base, an adapter on it, a ComfyUI MODEL.

Latent models decode every pixel anew, so that the decoder's traces lie on the whole picture; a
pixel model (`backends.unconditional`) has no codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..protocols import ModelPair
from ..sampling.guidance import Guidance, cfg
from ..sampling.plans import Job, condition_jobs, guided, noise_of, seed_of
from ..specs import RepaintSpec
from ..types import BASE, TUNED
from .examples import Tick
from .repaint import Move, level_sigmas, moves, repaint
from .shapes import cells

MODELS = {"base": BASE, "tuned": TUNED}


class DiffusionInpainter:
    """An `Inpainter` of a model pair.

    Args:
        pair: the model.
        prompt: what is asked for, inside the masks and out.
        spec: schedule, guidance, seeds.
        name: of the generator, in tables.
    """

    def __init__(
        self,
        pair: ModelPair,
        prompt: str,
        spec: RepaintSpec,
        *,
        name: str = "repaint_latent",
    ) -> None:
        self.pair, self.prompt, self.spec, self.name = pair, prompt, spec, name
        self._path = moves(spec.steps, spec.jump_length, spec.resamples)
        self._sigmas = level_sigmas(pair.sigmas.cpu().double(), spec.steps)

    @property
    def guidance(self) -> Guidance:
        """Classifier-free guidance of the chosen model."""
        return cfg(self.spec.cfg, MODELS[self.spec.model])

    @property
    def cost(self) -> int:
        """Denoiser rows per photo."""
        return sum(m.down for m in self._path) * len(self.guidance.branches)

    def facts(self) -> dict[str, Any]:
        """What decides the result."""
        settings = asdict(self.spec)
        del settings["batch"]
        hashes = asdict(self.pair.hashes)
        return {"name": self.name, "prompt": self.prompt, "models": hashes, **settings}

    def inpaint(self, pixels: Tensor, masks: Tensor, seeds: Sequence[int], tick: Tick) -> Tensor:
        """See `Inpainter`; every pixel comes from the model.

        Noise belongs to the photo, not to the batch.

        Raises:
            InputError: the model's latents are not a grid (BAD_SHAPE).
        """
        return self._painted(pixels, masks, seeds, self._path, tick)

    @property
    def whole_cost(self) -> int:
        """Denoiser rows per picture that is drawn as a whole."""
        return self.spec.steps * len(self.guidance.branches)

    def whole(self, seeds: Sequence[int], tick: Tick) -> Tensor:
        """Pictures ``[N, 3, side, side]`` in 0..1 of which nothing is known: plain sampling."""
        side = self.pair.resolution
        blank = torch.zeros(len(seeds), 3, side, side)
        path = moves(self.spec.steps, self.spec.jump_length, 1)
        return self._painted(blank, torch.ones_like(blank[:, :1]), seeds, path, tick)

    def _painted(
        self,
        pixels: Tensor,
        masks: Tensor,
        seeds: Sequence[int],
        path: tuple[Move, ...],
        tick: Tick,
    ) -> Tensor:
        if len(pixels) > self.spec.batch:
            parts = [slice(i, i + self.spec.batch) for i in range(0, len(pixels), self.spec.batch)]
            drawn = [self._painted(pixels[p], masks[p], seeds[p], path, tick) for p in parts]
            return torch.cat(drawn)
        known = self.pair.encode(pixels)
        if known.ndim != 4:
            raise InputError("BAD_SHAPE", "RePaint works on still images, not on video latents")
        hole = cells(masks, (known.shape[2], known.shape[3]), self.spec.mask_cells).to(known)
        jobs = [Job(i, self.prompt, s, self.guidance) for i, s in enumerate(seeds)]
        cond = condition_jobs(self.pair, jobs)
        rows_each = len(jobs) * len(self.guidance.branches)

        def noise(draw: int, like: Tensor) -> Tensor:
            shape = like.shape[1:]
            return torch.stack([noise_of(seed_of(job.seed, draw), shape) for job in jobs]).to(like)

        latents = repaint(
            guided(self.pair, cond, jobs),
            known.to(cond.device),
            hole.to(cond.device),
            self._sigmas.float(),
            path,
            noise=noise,
            flow=self.pair.prediction == "flow",
            eta=self.spec.eta,
            on_forward=lambda _: tick(rows_each),
        )
        return self.pair.decode(latents)

    def round_trip(self, pixels: Tensor) -> Tensor | None:
        """Photos through the codec and back, with nothing repainted."""
        return self.pair.decode(self.pair.encode(pixels))
