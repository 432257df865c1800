"""The demo's image codec: a small AutoencoderKL, trained from nothing.

Pixels are float ``[N, 3, 64, 64]`` in -1..1, latents ``[N, 16, 8, 8]``. Consumers read the latent
shape and ``scaling_factor`` from the saved configuration.
"""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from .optimization import Recipe, autocast, fit
from .saving import save_half

HELD_OUT_EVERY = 150
QUIET_LOG_VARIANCE = -6.0


@dataclass(frozen=True, kw_only=True)
class CodecRecipe(Recipe):
    """How the codec is trained.

    Attributes:
        crop_share: share of the steps on crops of half the edge, twice as many.
        taught_share: share of the steps in which encoder and decoder are taught patch components
            apart from each other, because together they take long to agree on colours.
        kl_weight: weight of the KL term, per latent number.
    """

    crop_share: float = 0.5
    taught_share: float = 0.4
    kl_weight: float = 2e-4


CODEC = CodecRecipe(steps=10_000, batch=8, rate=2e-3, seed=101)
POLISH = Recipe(steps=4_000, batch=8, rate=1e-3, seed=102)


def build_codec() -> AutoencoderKL:
    """An untrained codec: four levels, so 64 pixels become 8, with 16 latent channels."""
    channels = (16, 32, 64, 96)
    codec = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        # A posterior of unit width at the start would drown the small first latents in noise.
        codec.quant_conv.bias[codec.config["latent_channels"] :] = QUIET_LOG_VARIANCE
    return codec


def load_codec(folder: Path) -> AutoencoderKL:
    """Reads a codec's folder: float32, frozen, as for use."""
    codec = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    return codec.requires_grad_(False)


def to_float(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 ``[N, H, W, 3]`` to float ``[N, 3, H, W]`` in -1..1, contiguous.

    Channels last, the order the bytes come in, makes these small convolutions slower.
    """
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).float() / 127.5 - 1


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Float ``[N, 3, H, W]`` in -1..1 to uint8 ``[N, H, W, 3]``."""
    scaled = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).numpy()


def _edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    return pictures.diff(dim=-1), pictures.diff(dim=-2)


def reconstruction_loss(made: Tensor, real: Tensor) -> Tensor:
    """L1 and squared error, also of edges (thin lines such as glasses) and of coarse colour."""
    loss = F.l1_loss(made, real) + 2 * F.mse_loss(made, real)
    loss = loss + 2 * F.mse_loss(F.avg_pool2d(made, 8), F.avg_pool2d(real, 8))
    return loss + 0.5 * sum(
        F.l1_loss(a, b) for a, b in zip(_edges(made), _edges(real), strict=True)
    )


def psnr(made: Tensor, real: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of pictures in -1..1."""
    error = (made.clamp(-1, 1) - real).square().mean((1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())


@torch.no_grad()
def reconstruct(codec: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Pictures through the codec and back, by the latent mean."""
    parts = [codec.decode(codec.encode(p).latent_dist.mean).sample for p in pictures.split(64)]
    return torch.cat(parts)


@torch.no_grad()
def encode(codec: AutoencoderKL, pixels: NDArray[np.uint8]) -> Tensor:
    """Scaled latent means ``[N, 16, 8, 8]`` of uint8 ``[N, 64, 64, 3]``."""
    chunks = (to_float(pixels[i : i + 64]) for i in range(0, len(pixels), 64))
    means = torch.cat([codec.encode(chunk).latent_dist.mean for chunk in chunks])
    return means * codec.config["scaling_factor"]


@torch.no_grad()
def decode(codec: AutoencoderKL, latents: Tensor) -> NDArray[np.uint8]:
    """Pictures uint8 ``[N, 64, 64, 3]`` of scaled latents."""
    unscaled = latents.float() / codec.config["scaling_factor"]
    return np.concatenate([to_bytes(codec.decode(part).sample) for part in unscaled.split(64)])


def train_codec(pixels: NDArray[np.uint8], recipe: CodecRecipe, folder: Path) -> dict[str, float]:
    """Trains, measures, saves as fp16 into ``folder`` and returns the facts.

    Args:
        pixels: uint8 ``[N, 64, 64, 3]``; every 150th is held out for the PSNR.
        recipe: steps and rates.
        folder: diffusers folder to write.
    """
    torch.manual_seed(recipe.seed)
    held_out, training = _split(pixels)
    codec = build_codec()
    components = patch_components(to_float(training[:2000]), codec.config["latent_channels"])

    def loss_of(done: float) -> Tensor:
        cropped = done < recipe.crop_share
        rows = torch.randint(len(training), (recipe.batch * (2 if cropped else 1),)).numpy()
        pictures = _views(training[rows], cropped)
        if done < recipe.taught_share:
            return _taught_loss(codec, pictures, components)
        return _loss(codec, pictures, recipe.kl_weight)

    weights = list(codec.parameters())
    save = partial(_save, codec, training, folder)
    facts = fit(weights, loss_of, recipe, label="codec", checkpoint=save)
    save()
    return facts | {"psnr_db": psnr(reconstruct(codec, held_out), held_out)}


def _split(pixels: NDArray[np.uint8]) -> tuple[Tensor, NDArray[np.uint8]]:
    """Held-out pictures as floats, and the bytes to train on."""
    training = np.delete(pixels, np.s_[::HELD_OUT_EVERY], axis=0)
    return to_float(pixels[::HELD_OUT_EVERY][:96]), training


def polish_decoder(pixels: NDArray[np.uint8], recipe: Recipe, folder: Path) -> dict[str, float]:
    """Trains the decoder of a finished codec further; latents stay as they are.

    Args:
        pixels: uint8 ``[N, 64, 64, 3]``; every 150th is held out for the PSNR.
        recipe: steps and rate.
        folder: the codec's folder, overwritten.
    """
    torch.manual_seed(recipe.seed)
    held_out, training = _split(pixels)
    codec = load_codec(folder)
    weights = list(codec.decoder.requires_grad_(True).parameters())

    def loss_of(_: float) -> Tensor:
        rows = torch.randint(len(training), (recipe.batch,)).numpy()
        pictures = _views(training[rows], cropped=False)
        with autocast():
            with torch.no_grad():
                latents = codec.encode(pictures).latent_dist.sample()
            made = codec.decode(latents).sample
        return reconstruction_loss(made.float(), pictures)

    facts = fit(weights, loss_of, recipe, label="decoder")
    facts["psnr_db"] = psnr(reconstruct(codec, held_out), held_out)
    save_half(codec, folder)
    return facts


def _views(pixels: NDArray[np.uint8], cropped: bool) -> Tensor:
    """Pictures, mirrored by chance, whole or one common crop of half the edge."""
    pictures = to_float(pixels)
    pictures = torch.where(torch.rand(len(pictures), 1, 1, 1) < 0.5, pictures.flip(3), pictures)
    if not cropped:
        return pictures
    half = pictures.shape[-1] // 2
    top, left = torch.randint(half + 1, (2,)).tolist()
    return pictures[..., top : top + half, left : left + half].contiguous()


def patch_components(pictures: Tensor, n: int, edge: int = 8) -> tuple[Tensor, Tensor]:
    """Whitened principal components of square patches, as a strided convolution.

    Args:
        pictures: ``[N, 3, H, W]``.
        n: how many components.
        edge: of a patch and of the stride.

    Returns:
        Kernels ``[n, 3, edge, edge]`` and biases ``[n]``.
    """
    patches = F.unfold(pictures, edge, stride=edge).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    kernels = vectors[:, -n:].T / values[-n:, None].sqrt()
    return kernels.view(n, 3, edge, edge), -kernels @ mean


def _taught_loss(
    codec: AutoencoderKL, pictures: Tensor, components: tuple[Tensor, Tensor]
) -> Tensor:
    kernels, biases = components
    target = F.conv2d(pictures, kernels, biases, stride=kernels.shape[-1])
    with autocast():
        mean = codec.encode(pictures).latent_dist.mean
        made = codec.decode(target + 0.05 * torch.randn_like(target)).sample
    return reconstruction_loss(made.float(), pictures) + 0.2 * F.mse_loss(mean.float(), target)


def _loss(codec: AutoencoderKL, pictures: Tensor, kl_weight: float) -> Tensor:
    with autocast():
        posterior = codec.encode(pictures).latent_dist
        made = codec.decode(posterior.sample()).sample
    divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
    return reconstruction_loss(made.float(), pictures) + kl_weight * divergence


@torch.no_grad()
def _save(codec: AutoencoderKL, pixels: NDArray[np.uint8], folder: Path) -> None:
    sample = to_float(pixels[:: max(1, len(pixels) // 512)][:512])
    spread = torch.cat([codec.encode(p).latent_dist.mean for p in sample.split(64)]).std()
    save_half(codec, folder, scaling_factor=round(1 / float(spread), 6))
