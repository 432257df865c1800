"""A model pair in closed form: base and tuned are two Gaussians, pixels are latents."""

import torch
from lora_forensics.core.types import Conditioning, ModelHashes


class GaussianPair:
    """Base ``N(0, 1)``; tuned ``N(mean, spread^2)`` on ``[3, side, side]`` latents."""

    scalable = True

    def __init__(self, mean=0.5, spread=0.2, side=8):
        self.latent_shape = (3, side, side)
        self.resolution = side
        beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        abar = (1 - beta).cumprod(0)
        self.sigmas = ((1 - abar) / abar).sqrt()
        self.hashes = ModelHashes("base", "tuned")
        self.family, self.prediction = "gauss", "epsilon"
        self.mean, self.spread = mean, spread
        self.rows = 0

    def __call__(self, x, sigma, cond):
        self.rows += len(x)
        tuned = cond.strength.view(-1, 1, 1, 1)
        mean = tuned * self.mean
        variance = tuned * self.spread**2 + (1 - tuned)
        s2 = sigma.view(-1, 1, 1, 1) ** 2
        return (variance * x + s2 * mean) / (variance + s2)

    def condition(self, prompts, strengths):
        return Conditioning(torch.zeros(len(prompts), 1, 1), torch.tensor(list(strengths)))

    def encode(self, pixels):
        return pixels * 2 - 1

    def decode(self, latents):
        return ((latents + 1) / 2).clamp(0, 1).float()

    def null(self, seed):
        """Another mean, drawn at random: as far from the base as the tuned one."""
        sign = 1 if seed % 2 else -1
        return GaussianPair(sign * self.mean, self.spread, self.latent_shape[1])

    def close(self):
        pass


class FlowPair(GaussianPair):
    """Rectified flow ``x = (1 - sigma) x0 + sigma eps`` of the same two Gaussians."""

    def __init__(self, **more):
        super().__init__(**more)
        self.prediction = "flow"
        self.sigmas = torch.linspace(0.001, 1, 1000, dtype=torch.float64)

    def __call__(self, x, sigma, cond):
        self.rows += len(x)
        tuned, s = cond.strength.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
        mean, variance = tuned * self.mean, tuned * self.spread**2 + (1 - tuned)
        total = (1 - s) ** 2 * variance + s**2
        return mean + (1 - s) * variance / total * (x - (1 - s) * mean)
