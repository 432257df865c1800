"""What the tests of training share: tiny models of each family, and one small training."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import torch
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.specs import FinetuneSpec

from .inprocess import conditioning

SPEC = FinetuneSpec(
    steps=5, batch=2, rank=3, alpha=2.0, learning_rate=1e-2, save_every=2, caption_dropout=0.3
)
CAPTIONS = ["a face", "a face", "another one"]
SDXL_CONFIG = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32,
    "num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1], "transformer_depth_middle": 1,
    "use_linear_in_transformer": True, "context_dim": 64, "num_head_channels": 32,
    "num_heads": -1, "adm_in_channels": 1280 + 1536, "num_classes": "sequential",
    "use_spatial_transformer": True, "legacy": False, "use_temporal_attention": False,
    "use_checkpoint": False, "dtype": torch.float32,
}  # fmt: skip
FLUX_CONFIG = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 24,
    "context_in_dim": 64, "hidden_size": 64, "mlp_ratio": 4.0, "num_heads": 2, "depth": 1,
    "depth_single_blocks": 1, "axes_dim": [4, 14, 14], "theta": 10000, "patch_size": 2,
    "qkv_bias": True, "guidance_embed": True, "dtype": torch.float32,
}  # fmt: skip


class Clip:
    """A text encoder that gives a random CONDITIONING for each prompt and takes no patches."""

    layer_idx, cond_stage_model = None, torch.nn.Identity()

    def __init__(self, family="sd15", pooled=None):
        self.family, self.pooled = family, pooled
        self.patcher = SimpleNamespace(
            model=torch.nn.BatchNorm1d(1), backup={}, patches={}, is_clone=lambda other: True
        )

    def clone(self):
        return self

    def add_patches(self, patches, strength):
        assert not any(str(key).startswith("text") for key in patches)

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        ((tokens, more),) = conditioning(self.family, seed=len(text))
        if self.pooled is not None:
            tokens = tokens[..., : self.pooled[0]]
            more = {"pooled_output": noise_of(len(text), (1, self.pooled[1]))}
        return [[tokens, more]]


def checkpoint(comfy, native_folder, name, inference=True):
    """MODEL, CLIP and VAE; a server loads them in inference mode."""
    with torch.inference_mode(inference):
        return comfy.checkpoint(native_folder / "checkpoints" / name)


def _narrow(kind, config, **state):
    """A family's class with narrow layers: SDXL's depths and Flux's width are fixed, GBs each."""
    import comfy.model_patcher
    import comfy.supported_models as known

    narrow = getattr(known, kind)(dict(config))
    narrow.sampling_settings = dict(narrow.sampling_settings)  # the host writes into the class's
    narrow.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    with torch.inference_mode():
        network = narrow.get_model(state, "", cpu)
        for i, (name, p) in enumerate(network.diffusion_model.named_parameters()):
            if p.ndim > 1:
                p.copy_(noise_of(i, p.shape) / p[0].numel() ** 0.5)
            else:
                p.fill_(float(not name.endswith("bias")))
    return comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu)


def narrow_sdxl(**state):
    """MODEL and CLIP; ``v_pred`` or ``edm_mean`` in its state say how it predicts."""
    return _narrow("SDXL", SDXL_CONFIG, **state), Clip(pooled=(64, 1280))


def narrow_flux():
    from comfy.ldm.flux.model import FluxParams

    later = {"txt_ids_dims": []} if "txt_ids_dims" in {f.name for f in fields(FluxParams)} else {}
    return _narrow("Flux", FLUX_CONFIG | later), Clip(pooled=(64, 24))


def drawn(count, first=0):
    """Photos of noise, as a node holds them."""
    from lora_forensics.nodes.loaders import photos_from

    pixels = torch.stack([noise_of(first + i, (64, 64, 3)).sigmoid() for i in range(count)])
    return photos_from([pixels])


def train(model, clip, vae, path, spec=SPEC):
    """Factors trained on three photos, and the words about them."""
    from lora_forensics.nodes._retraining import train_lora

    with torch.inference_mode():
        return train_lora(model, clip, vae, drawn(3), CAPTIONS, spec, resolution=64, path=path)


def state_of(model):
    return {k: v.clone() for k, v in model.model.state_dict().items()}


def check_unchanged(model, before):
    after = model.model.state_dict()
    assert after.keys() == before.keys()
    assert all(
        torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in after
    )
    assert not any(m._forward_hooks for m in model.model.modules())
    assert not model.patches
    assert all(p.grad is None for p in model.model.parameters())
