"""The headless model pair: base and tuned rows in one batched forward, on diffusers' networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, plural
from ..lora.operators import Operator
from ..protocols import Rows
from ..types import Conditioning, ModelHashes
from .families import shift_and_scale
from .memory import RowLimit
from .networks import Networks, config_of, denoised
from .noise import noise_like
from .rows import AdaptedNetwork, RowAdapter, RowNetwork, TwoNetworks
from .text import PromptEncoder

_DECODED = 4

Targets = Iterable[tuple[str, nn.Module, Operator]]


class DiffusersPair:
    """`protocols.ModelPair` on diffusers' UNet2DConditionModel, AutoencoderKL and CLIP.

    Rows of one batch are answered by the base (strength 0) or the tuned model (strength 1); an
    adapter also takes any other strength. Predictions are made without gradients only if the
    caller says so; the networks themselves are frozen.

    Attributes:
        latent_shape: ``(C, h, w)`` at the native resolution.
        resolution: native image side in pixels.
        sigmas: ``[T]`` float64 noise level of each training timestep, rising.
        hashes: SHA-256 of both models' files.
        family: name of the family, see `families.FAMILIES`.
        prediction: ``epsilon`` or ``v_prediction``.
        output_change: relative change of one prediction from base to tuned; see `core.change`.
        lora: the adapter file read, or None. ``binding``: how it was matched, or None.
        notes: what a reader of results must know.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        tuned_sha256: str,
        unet: RowNetwork | None = None,
        text_encoders: Sequence[RowNetwork] | None = None,
        strength: float = 1.0,
    ):
        self.networks = networks
        self._unet = unet or AdaptedNetwork(networks.unet)
        encoders = text_encoders or [AdaptedNetwork(e) for e in networks.text_encoders]
        self._encode_prompts = PromptEncoder(encoders, networks.tokenizers, networks.family.read)
        self._strength = strength
        self._adapters: tuple[RowAdapter, ...] = ()
        self._limit = RowLimit()
        self._vae_limit = RowLimit(_DECODED)
        self.sigmas = networks.sigmas
        self.family, self.prediction = networks.family.name, networks.prediction
        self.hashes = ModelHashes(networks.sha256, tuned_sha256)
        self.factor = 2 ** (len(config_of(networks.vae).block_out_channels) - 1)
        config = config_of(networks.unet)
        side = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]
        self.latent_shape = (int(config.in_channels), int(side), int(side))
        self.resolution = int(side) * self.factor
        self.output_change = float("nan")
        self.lora: Any = None
        self.binding: Any = None
        self.notes: tuple[str, ...] = ()

    @classmethod
    def adapted(
        cls,
        networks: Networks,
        targets: Targets,
        *,
        tuned_sha256: str,
        strength: float = 1.0,
    ) -> DiffusersPair:
        """A pair of a base and the base with an adapter.

        Args:
            networks: the base; pairs may share it, each acts only in its own forwards.
            targets: ``(component, layer of the base, operator)``.
            tuned_sha256: hash of the adapter.
            strength: what a row strength of 1 stands for.
        """
        by_part: dict[str, list[tuple[nn.Module, Operator]]] = {}
        for component, module, op in targets:
            by_part.setdefault(component, []).append((module, op))
        adapters = {part: RowAdapter(changes) for part, changes in by_part.items()}
        roles = {
            part: AdaptedNetwork(network, adapters.get(part))
            for part, network in networks.components().items()
        }
        pair = cls(
            networks,
            tuned_sha256=tuned_sha256,
            unet=roles.pop("unet"),
            text_encoders=list(roles.values()),
            strength=strength,
        )
        pair._adapters = tuple(adapters.values())
        return pair

    @classmethod
    def finetuned(cls, networks: Networks, tuned: Networks) -> DiffusersPair:
        """A pair of a base and a full checkpoint; the VAE is the base's."""
        roles = [
            AdaptedNetwork(a) if same_weights(a, b) else TwoNetworks(a, b)
            for a, b in zip(
                networks.components().values(), tuned.components().values(), strict=True
            )
        ]
        pair = cls(networks, tuned_sha256=tuned.sha256, unet=roles[0], text_encoders=roles[1:])
        if not same_weights(networks.vae, tuned.vae):
            pair.notes = ("the tuned checkpoint's VAE differs; the base's VAE is used for both",)
        return pair

    def null(self, seed: int) -> DiffusersPair | None:
        """The same base with an adapter of noise, as strong on each layer as the suspect's.

        Args:
            seed: of the noise.

        Returns:
            None for a full checkpoint, whose change is not an adapter.
        """
        if self.binding is None:
            return None
        generator = torch.Generator().manual_seed(seed)
        modules = self.networks.modules()
        layers = [(part, modules[part][name], op) for part, name, op in self.binding.pairs]
        targets = [
            (part, layer, noise_like(op, layer.get_parameter("weight"), generator))
            for part, layer, op in layers
        ]
        return DiffusersPair.adapted(
            self.networks, targets, tuned_sha256=f"noise {seed}", strength=self._strength
        )

    def close(self) -> None:
        """Take the adapter off the base's networks."""
        for adapter in self._adapters:
            adapter.close()

    @property
    def strength(self) -> float:
        """What a row strength of 1 stands for: how strongly the adapter acts on tuned rows."""
        return self._strength

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.networks.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of UNet and text encoders."""
        return next(self.networks.unet.parameters()).dtype

    def __call__(self, x: Tensor, sigma: Tensor, cond: Rows) -> Tensor:
        """Denoised latents, see `protocols.Denoiser`; halves its row batch when memory ends.

        Args:
            x: ``[N, C, h, w]``.
            sigma: ``[N]``.
            cond: ``N`` rows, made by `condition`.

        Returns:
            ``[N, C, h, w]`` float32 on the device of `x`.

        Raises:
            TypeError: the rows are another host's.
        """
        if not isinstance(cond, Conditioning):
            raise TypeError(f"rows of another host: {type(cond).__name__}")
        if not len(x) == len(sigma) == len(cond):
            counts = ((x, "latent"), (sigma, "sigma"), (cond, "condition"))
            raise InputError("BAD_SHAPE", ", ".join(plural(len(v), name) for v, name in counts))

        def denoise(rows: slice) -> Tensor:
            part = cond if rows == slice(0, len(x)) else cond.select(range(len(x))[rows])
            return self._denoise(x[rows], sigma[rows], part)

        return self._limit.run(len(x), denoise)

    def _denoise(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        return denoised(
            x, sigma, sigmas=self.sigmas, prediction=self.prediction,
            predict=lambda scaled, time: self._predict(scaled, time, cond),
        )  # fmt: skip

    def _predict(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        family = self.networks.family
        size = (x.shape[2] * self.factor, x.shape[3] * self.factor)
        x, *inputs = (t.to(self.device, self.dtype) for t in (x, *family.inputs(cond, size)))
        strength = cond.strength.to(self.device, torch.float32) * self._strength
        return self._unet.run(strength, family.call, x, time.to(self.device), *inputs)[0]

    def condition(self, prompts: Sequence[str], strengths: Sequence[float]) -> Conditioning:
        """Encode one prompt per row with the text encoder of that row's model (cached)."""
        scaled = [self._strength * s for s in strengths]
        cond = self._encode_prompts(prompts, scaled)
        strength = torch.tensor(strengths, dtype=torch.float32, device=cond.embeds.device)
        return Conditioning(cond.embeds, strength, cond.pooled)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Scaled latent means ``[N, C, h, w]`` float32 of pixels ``[N, 3, H, W]`` in 0..1."""
        vae: Any = self.networks.vae
        shift, scale = shift_and_scale(vae)

        def part(rows: slice) -> Tensor:
            image = pixels[rows].to(self.device, torch.float32) * 2 - 1
            return (vae.encode(image).latent_dist.mean - shift) * scale

        return self._vae_limit.run(len(pixels), part)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels ``[N, 3, H, W]`` in 0..1 (clamped, float32, CPU) of scaled latents."""
        vae: Any = self.networks.vae
        shift, scale = shift_and_scale(vae)

        def part(rows: slice) -> Tensor:
            z = latents[rows].to(self.device, torch.float32) / scale + shift
            return (vae.decode(z).sample / 2 + 0.5).clamp(0, 1).cpu()

        return self._vae_limit.run(len(latents), part)

    @property
    def scalable(self) -> bool:
        """Whether there is an adapter whose strength may vary."""
        return bool(self._adapters)

    def describe(self) -> dict[str, Any]:
        """Facts for a run's manifest."""
        return {
            "base_sha256": self.hashes.base,
            "tuned_sha256": self.hashes.tuned,
            "tuned_kind": "adapter" if self._adapters else "checkpoint",
            "family": self.family,
            "prediction": self.prediction,
            "resolution": self.resolution,
            "latent_shape": list(self.latent_shape),
            "strength": self._strength,
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "output_change": self.output_change,
            "row_limit": self._limit.limit,
            "notes": list(self.notes),
        }


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks hold equal weights."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        v.shape == theirs[k].shape and torch.equal(v, theirs[k].to(v)) for k, v in ours.items()
    )
