"""ComfyUI's MODEL, CLIP and VAE as the core's ModelPair: base and tuned rows from one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.backends.memory import RowLimit
from ..core.backends.noise import noise_like
from ..core.backends.rows import RowAdapter, check_whole
from ..core.errors import InputError
from ..core.lora.operators import Full, Operator, delta
from ..core.types import BASE, ModelHashes
from ._changes import Change, original_weight

TIMESTEPS = 1000
Cond = dict[str, Any]


@dataclass(frozen=True, eq=False)
class HostRows:
    """One host conditioning per row; see `core.protocols.Rows`."""

    entries: tuple[Cond, ...]
    strength: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.entries)

    def select(self, index: Sequence[int] | Tensor) -> HostRows:
        """The rows at `index`, in that order."""
        picked = [int(i) for i in index]
        return HostRows(tuple(self.entries[i] for i in picked), self.strength[picked], self.device)

    def repeat(self, n: int) -> HostRows:
        """Each row `n` times in a row."""
        return self.select([i for i in range(len(self)) for _ in range(n)])


class HostPair:
    """`core.protocols.ModelPair` on the host's objects.

    Args:
        base: MODEL patcher of the base.
        changes: what makes the tuned model of it, when both share one network.
        tuned: MODEL patcher of the tuned model, when it is a network of its own.
        clips: CLIP of an adapter strength; 0 is the base's, 1 the tuned one's.
        clip_changes: what makes the tuned CLIP of the base's.
        vae: VAE.
        hashes: of both models.
        resolution: image side in pixels.
        parts: hashes of text encoders and VAE.
    """

    def __init__(
        self,
        base: Any,
        *,
        changes: Sequence[Change] = (),
        tuned: Any = None,
        clips: Callable[[float], Any],
        clip_changes: Sequence[Change] = (),
        vae: Any,
        hashes: ModelHashes,
        resolution: int,
        parts: Mapping[str, str] | None = None,
    ):
        self._base, self._tuned, self._vae, self._clips = base, tuned, vae, clips
        self._changes, self._clip_changes = tuple(changes), tuple(clip_changes)
        self._adapter: RowAdapter | None = None
        self._texts: dict[tuple[str, float], Cond] = {}
        self._encoded: dict[tuple[int, float, tuple[int, ...]], Cond] = {}
        self._limit = RowLimit()
        self.hashes, self.resolution, self.parts = hashes, resolution, dict(parts or {})
        self.family = type(base.model.model_config).__name__
        self.prediction = prediction_of(base)
        self.sigmas = sigmas_of(base)
        self.latent_shape = latent_shape(base, vae, resolution)

    def __call__(self, x: Tensor, sigma: Tensor, cond: HostRows) -> Tensor:
        """Denoised latents; see `core.protocols.Denoiser`. An interrupt of the host stops here."""
        import comfy.model_management as memory

        memory.throw_exception_if_processing_interrupted()
        self._load(x.shape)

        def denoise(rows: slice) -> Tensor:
            part = cond if rows == slice(0, len(x)) else cond.select(range(len(x))[rows])
            return self._denoise(x[rows], sigma[rows], part)

        return self._limit.run(len(x), denoise)

    def _load(self, shape: Sequence[int]) -> None:
        import comfy.model_management as memory

        models = [self._base] if self._tuned is None else [self._base, self._tuned]
        memory.load_models_gpu(models, memory_required=self._base.model.memory_required(shape))
        if self._changes and self._adapter is None:
            self._adapter = place(self._base, self._changes)

    def _denoise(self, x: Tensor, sigma: Tensor, cond: HostRows) -> Tensor:
        out = torch.empty_like(x, dtype=torch.float32)
        for index, patcher in self._groups(x, cond):
            rows = cond.select(index)
            entries = [
                self._processed(patcher, e, s, x) for e, s in zip(*_listed(rows), strict=True)
            ]
            with self._acting(rows.strength):
                out[index] = forward(patcher, x[index], sigma[index], entries).to(out)
        return out

    def _groups(self, x: Tensor, cond: HostRows) -> list[tuple[list[int], Any]]:
        """Rows that may run together: of one network, with conditions of one shape."""
        groups: dict[tuple[Any, ...], tuple[list[int], Any]] = {}
        for i, (entry, strength) in enumerate(zip(*_listed(cond), strict=True)):
            patcher = self._patcher(strength)
            processed = self._processed(patcher, entry, strength, x)
            key = (id(patcher), *sorted((k, str(v.size())) for k, v in processed.items()))
            groups.setdefault(key, ([], patcher))[0].append(i)
        return list(groups.values())

    def _patcher(self, strength: float) -> Any:
        if self._tuned is None or strength == BASE:
            return self._base
        check_whole([strength])
        return self._tuned

    def _acting(self, strength: Tensor) -> AbstractContextManager[None]:
        return nullcontext() if self._adapter is None else self._adapter.rows(strength)

    def _processed(self, patcher: Any, entry: Cond, strength: float, x: Tensor) -> Cond:
        """The model's own inputs made of a conditioning, once a shape."""
        key = (id(entry), self._key(strength), tuple(x.shape[1:]))
        if key not in self._encoded:
            from comfy.samplers import encode_model_conds

            device = patcher.load_device
            encoded = encode_model_conds(
                patcher.model.extra_conds,
                [dict(entry)],
                x[:1].to(device),
                device,
                "positive",
                latent_image=None,
                denoise_mask=None,
                seed=0,
            )
            self._encoded[key] = encoded[0]["model_conds"]
        return self._encoded[key]

    def _key(self, strength: float) -> float:
        return strength if self._tuned is not None else BASE

    def condition(self, prompts: Sequence[str], strengths: Sequence[float]) -> HostRows:
        """Encode one prompt per row with the text encoder of that row's model (cached)."""
        entries = tuple(self._text(p, s) for p, s in zip(prompts, strengths, strict=True))
        strength = torch.tensor(list(strengths), dtype=torch.float32)
        return HostRows(entries, strength, torch.device("cpu"))

    def _text(self, prompt: str, strength: float) -> Cond:
        key = (prompt, strength)
        if key not in self._texts:
            from comfy.sampler_helpers import convert_cond

            clip = self._clips(strength)
            encoded = clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
            self._texts[key] = convert_cond(encoded)[0]
        return self._texts[key]

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Latents as the model sees them, of pixels ``[N, 3, H, W]`` in 0..1."""
        latents = self._vae.encode(pixels.movedim(1, -1))
        latents = latents if latents.ndim == 1 + len(self.latent_shape) else latents.unsqueeze(2)
        return self._base.model.process_latent_in(latents).float().cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels ``[N, 3, H, W]`` in 0..1 of latents; a video model gives its first frame."""
        pixels = self._vae.decode(self._base.model.process_latent_out(latents))
        pixels = pixels if pixels.ndim == 4 else pixels[:, 0]
        return pixels.movedim(-1, 1).float().clamp(0, 1).cpu()

    def null(self, seed: int) -> HostPair | None:
        """The same base with a change of noise, as strong on each layer; None for a checkpoint."""
        if not self._changes and not self._clip_changes:
            return None
        generator = torch.Generator().manual_seed(seed)
        clip = self._clips(BASE)
        noise = _noise(self._base, self._changes, generator)
        texts = scaled_clip(clip, _noise(clip.patcher, self._clip_changes, generator))
        return HostPair(
            self._base,
            changes=noise,
            clips=lambda strength: texts if strength else clip,
            vae=self._vae,
            hashes=ModelHashes(self.hashes.base, f"noise {seed}"),
            resolution=self.resolution,
            parts=self.parts,
        )

    @property
    def scalable(self) -> bool:
        """Whether there is an adapter whose strength may vary."""
        return self._tuned is None

    def close(self) -> None:
        """Take the adapter off the host's network."""
        if self._adapter is not None:
            self._adapter.close()
            self._adapter = None

    def __enter__(self) -> HostPair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self) -> dict[str, Any]:
        """Facts for a report."""
        return {
            "base_sha256": self.hashes.base,
            "tuned_sha256": self.hashes.tuned,
            **self.parts,
            "tuned_kind": "adapter" if self._tuned is None else "checkpoint",
            "family": self.family,
            "prediction": self.prediction,
            "resolution": self.resolution,
            "latent_shape": list(self.latent_shape),
            "device": str(self._base.load_device),
            "dtype": str(self._base.model_dtype()).removeprefix("torch."),
            "row_limit": self._limit.limit,
            "host": "ComfyUI",
        }


def _noise(patcher: Any, changes: Sequence[Change], generator: torch.Generator) -> list[Change]:
    return [
        Change(c.module, noise_like(c.operator, _base_weight(patcher, c.module), generator))
        for c in changes
        if not isinstance(c.operator, Full) or c.operator.weight is not None
    ]


def _base_weight(patcher: Any, module: str) -> Tensor:
    return original_weight(patcher, f"{module}.weight").detach().cpu().float()


def scaled_clip(clip: Any, changes: Sequence[Change], strength: float = 1.0) -> Any:
    """A CLIP with dense changes on its layers, applied by the host at a strength."""
    copy = clip.clone()
    for change in changes:
        added = _differences(clip.patcher, change)
        copy.add_patches(
            {f"{change.module}.{leaf}": ("diff", (value,)) for leaf, value in added.items()},
            strength,
        )
    return copy


def _differences(patcher: Any, change: Change) -> dict[str, Tensor]:
    operator = change.operator
    if not isinstance(operator, Full):
        return {"weight": delta(operator, _base_weight(patcher, change.module))}
    changes = {"weight": operator.weight, "bias": operator.bias}
    return {leaf: value for leaf, value in changes.items() if value is not None}


def _listed(rows: HostRows) -> tuple[tuple[Cond, ...], list[float]]:
    return rows.entries, rows.strength.tolist()


def place(patcher: Any, changes: Sequence[Change]) -> RowAdapter:
    """Hang changes on the layers of a loaded model; they act only where rows are set."""
    like = torch.empty(0, device=patcher.load_device, dtype=compute_dtype(patcher))
    targets: list[tuple[torch.nn.Module, Operator]] = [
        (patcher.get_model_object(change.module), change.operator) for change in changes
    ]
    return RowAdapter(targets, like=like)


def compute_dtype(patcher: Any) -> torch.dtype:
    """Precision in which the host runs the network, whatever it is stored in."""
    return patcher.model.manual_cast_dtype or patcher.model.get_dtype()


def forward(patcher: Any, x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> Tensor:
    """One batched forward through the host's model, each row with its own conditions.

    Patches, wrappers and the model function wrapper that other nodes put on the MODEL act here.
    """
    from comfy.model_patcher import create_model_options_clone
    from comfy.patcher_extension import merge_nested_dicts

    device, model = patcher.load_device, patcher.model
    x, sigma = x.to(device), sigma.to(device, torch.float32)
    inputs = {name: _join([c[name] for c in conds], device) for name in conds[0]}
    options = create_model_options_clone(patcher.model_options)
    transformer = options.setdefault("transformer_options", {})
    for kind in ("wrappers", "callbacks"):
        merge_nested_dicts(
            transformer.setdefault(kind, {}), getattr(patcher, kind), copy_dict1=False
        )
    transformer |= {"cond_or_uncond": [0], "sigmas": sigma}
    inputs["transformer_options"] = transformer
    wrapper = options.get("model_function_wrapper")
    if wrapper is None:
        return model.apply_model(x, sigma, **inputs)
    call = {"input": x, "timestep": sigma, "c": inputs, "cond_or_uncond": [0]}
    return wrapper(model.apply_model, call)


def _join(rows: Sequence[Any], device: torch.device) -> Any:
    ready = [row.process_cond(batch_size=1, device=device, area=None) for row in rows]
    return ready[0].concat(ready[1:]) if len(ready) > 1 else ready[0].cond


def prediction_of(patcher: Any) -> str:
    """``flow``, ``v_prediction`` or ``epsilon``, by the host's model sampling.

    Raises:
        InputError: UNSUPPORTED_MODEL for a process with another noising.
    """
    from comfy import model_sampling as kinds

    sampling = patcher.get_model_object("model_sampling")
    other = (kinds.X0, kinds.COSMOS_RFLOW)
    if isinstance(sampling, kinds.CONST):
        return "flow"
    if isinstance(sampling, kinds.V_PREDICTION):
        return "v_prediction"
    if isinstance(sampling, kinds.EPS) and not isinstance(sampling, other):
        return "epsilon"
    raise InputError(
        "UNSUPPORTED_MODEL",
        f"this MODEL samples with {type(sampling).__mro__[1].__name__}; supported are epsilon, "
        "v-prediction and rectified flow",
    )


def sigmas_of(patcher: Any) -> Tensor:
    """Noise levels ``[1000]`` float64, rising."""
    table = patcher.get_model_object("model_sampling").sigmas.double().cpu()
    step = len(table) / TIMESTEPS
    index = (torch.arange(1, TIMESTEPS + 1) * step).round().long() - 1
    return table[index.clamp(0, len(table) - 1)]


def latent_shape(patcher: Any, vae: Any, resolution: int) -> tuple[int, ...]:
    """Shape of one latent at a resolution.

    Raises:
        InputError: BAD_SETTING when the resolution is not a multiple of the VAE's factor.
    """
    form, factor = patcher.model.latent_format, vae.spacial_compression_encode()
    if resolution % factor:
        raise InputError(
            "BAD_SETTING",
            f"resolution {resolution} is not a multiple of the VAE's factor {factor}",
        )
    side = resolution // factor
    frames = (1,) * (getattr(form, "latent_dimensions", 2) - 2)
    return (form.latent_channels, *frames, side, side)
