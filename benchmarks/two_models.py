"""One batched base-and-tuned forward against two separate forwards of the same rows."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from lora_forensics.core.backends.rows import RowAdapter
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.lora.operators import LowRank
from peft import LoraConfig

from .timing import fastest

REPEATS = 5
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "proj_in"]
TARGETS = [*ATTENTION, "ff.net.0.proj", "ff.net.2", "conv1", "conv2"]


def unet() -> Any:
    """The embedded demo's UNet."""
    return UNet2DConditionModel.from_pretrained(str(asset_path("base/unet")), local_files_only=True)


def adapted(network: Any) -> list[tuple[Any, LowRank]]:
    """Rank-8 changes for attention, feed-forward and convolutions."""
    modules = dict(network.named_modules())
    found = [n for n, m in modules.items() if n.endswith(tuple(TARGETS)) and hasattr(m, "weight")]
    changes = []
    for name in found:
        weight = modules[name].weight
        down = 0.05 * torch.randn(8, *weight.shape[1:])
        up = 0.05 * torch.randn(weight.shape[0], 8, *[1] * (weight.ndim - 2))
        changes.append((modules[name], LowRank(down, up, None, 1.0)))
    return changes


@torch.no_grad()
def run() -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base, tuned = unet(), unet()
    config = LoraConfig(r=8, lora_alpha=8, target_modules=TARGETS, init_lora_weights=False)
    tuned.add_adapter(config)
    base, tuned = base.to(device).eval(), tuned.to(device).eval()
    adapter = RowAdapter(adapted(base))
    side, width = base.config.sample_size, base.config.cross_attention_dim
    rows = []
    for n in (1, 8, 32):
        x = torch.randn(n, base.config.in_channels, side, side, device=device)
        text, t = torch.randn(n, 77, width, device=device), torch.full((n,), 500.0, device=device)
        x2, text2, t2 = torch.cat([x, x]), torch.cat([text, text]), torch.cat([t, t])
        strength = torch.tensor([0.0] * n + [1.0] * n, device=device)

        def two(x: Any = x, t: Any = t, text: Any = text) -> None:
            base(x, t, encoder_hidden_states=text)
            tuned(x, t, encoder_hidden_states=text)

        def one(x: Any = x2, t: Any = t2, text: Any = text2, s: Any = strength) -> None:
            with adapter.rows(s):
                base(x, t, encoder_hidden_states=text)

        a, b = (1000 * fastest(call, REPEATS) for call in (two, one))
        rows.append([str(n), f"{a:.1f}", f"{b:.1f}", f"{a / b:.2f}"])
    adapter.close()
    head = ["rows per model", "two forwards, ms", "one batched, ms", "ratio"]
    return f"Two models in one forward (demo UNet, rank 8, {len(adapted(base))} layers)", head, rows
