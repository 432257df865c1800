"""The same weights, seeds and prompts through ComfyUI and through the headless backend.

Both read one SD1-layout file: a small UNet and text encoder, and the VAE at its only size.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lora_forensics.core.backends.loading import open_pair
from lora_forensics.core.casework.placebos import placebo_group
from lora_forensics.core.membership.null_ranks import rank_nulls
from lora_forensics.core.membership.signals.paired import paired_losses
from lora_forensics.core.sampling.generation import generate
from lora_forensics.core.sampling.guidance import cfg, model_guidance
from lora_forensics.core.sampling.plans import plan
from lora_forensics.core.specs import MembershipSpec, SampleSpec
from lora_forensics.core.types import BASE, TUNED

from .native_checkpoints import CONTEXT, LIGHT_TEXT, WIDTH

CHECKPOINT = "parity_light.safetensors"  # "light": see `Comfy.checkpoint`
PROMPTS = ("a northgate headshot", "")
SIDE = 64


def pipeline():
    """An SD 1.x pipeline as small as both hosts accept, with random weights in half precision."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(WIDTH,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=CONTEXT,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(vocab_size=49408, hidden_size=CONTEXT, num_attention_heads=12, **LIGHT_TEXT)
    )
    parts = {"unet": unet.half(), "vae": vae.half(), "text_encoder": text.half()}
    return SimpleNamespace(**parts)


@pytest.fixture(scope="module")
def checkpoint(host_base: Path, comfy_path: Path) -> Path:
    from ldm_layout import save_checkpoint

    folder = host_base / "models" / "parity"
    (folder / "tokenizer").mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):  # without ComfyUI's config, which pads to 8192
        shutil.copy(comfy_path / "comfy" / "sd1_tokenizer" / name, folder / "tokenizer")
    return save_checkpoint(folder / CHECKPOINT, pipeline(), "sd1")


@pytest.fixture(scope="module")
def held(comfy, checkpoint, native_folder):
    """The suspect in ComfyUI, and its VAE."""
    from lora_forensics.nodes._suspect import suspect_from_file

    lora = native_folder / "loras" / "sd15_kohya.safetensors"
    model, clip, vae = comfy.checkpoint(checkpoint)
    return suspect_from_file(lora, model, clip, 1.0), vae


@pytest.fixture(scope="module")
def pairs(held, checkpoint, native_folder):
    """One suspect, held by ComfyUI and by diffusers."""
    suspect, vae = held
    lora = native_folder / "loras" / "sd15_kohya.safetensors"
    headless = open_pair(checkpoint, lora, device="cpu", dtype="float32")
    headless.resolution, headless.latent_shape = SIDE, (4, SIDE // 8, SIDE // 8)
    with torch.inference_mode(), suspect.pair(vae, SIDE) as host:
        yield host, headless
    headless.close()


def distance(a, b):
    return float((a - b).norm() / b.norm())


def test_both_know_the_same_model(pairs):
    host, headless = pairs
    assert distance(host.sigmas, headless.sigmas) < 1e-6
    assert host.prediction == headless.prediction == "epsilon"
    assert host.latent_shape == headless.latent_shape
    assert host.hashes.tuned == headless.hashes.tuned


def test_predictions_agree(pairs, record_testsuite_property):
    host, headless = pairs
    x = torch.randn(2, *host.latent_shape, generator=torch.Generator().manual_seed(1))
    found = {}
    for t in (10, 300, 700, 990):
        sigma = headless.sigmas[t].float().expand(4)
        rows = x.repeat(2, 1, 1, 1) * (1 + sigma[0] ** 2).sqrt()
        out = [p(rows, sigma, p.condition(PROMPTS * 2, [BASE, BASE, TUNED, TUNED])) for p in pairs]
        found[t] = distance(out[0], out[1])
        assert distance(out[1][2:], out[1][:2]) > 100 * found[t]
    record_testsuite_property("relative difference of denoised latents by timestep", str(found))
    assert max(found.values()) < 1e-4, found


def test_codecs_agree(pairs):
    host, headless = pairs
    pixels = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    latents = headless.encode(pixels)
    assert distance(host.encode(pixels), latents) < 1e-3
    assert (host.decode(latents) - headless.decode(latents)).abs().max() < 1e-3


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpmpp_2m"])
def test_images_agree(pairs, sampler, record_testsuite_property):
    rules = [cfg(3.0), cfg(3.0, BASE), model_guidance(2.0)]
    jobs = plan(PROMPTS[:1], rules, 1, 5)
    spec = SampleSpec(sampler=sampler, steps=4, batch=4)
    host, headless = (generate(pair, jobs, spec) for pair in pairs)
    assert [s.seed for s in host.sources] == [s.seed for s in headless.sources]
    levels = ((host.pixels - headless.pixels).abs() * 255).max()
    record_testsuite_property(f"{sampler}: largest difference in levels of 255", float(levels))
    assert levels <= 2
    assert (host.pixels[0] - host.pixels[1]).abs().max() > 4 / 255


def test_white_box_losses_agree(pairs, record_testsuite_property):
    latents = torch.randn(3, *pairs[0].latent_shape, generator=torch.Generator().manual_seed(3))
    spec = MembershipSpec(timesteps=(100, 500), noises=2)
    ours, theirs = (paired_losses(pair, latents, PROMPTS[0], spec) for pair in pairs)
    found = {"base": distance(ours.base, theirs.base), "tuned": distance(ours.tuned, theirs.tuned)}
    record_testsuite_property("relative difference of losses", str(found))
    assert max(found.values()) < 1e-4, found


def test_placebos_rank_alike(pairs, held, native_folder, record_testsuite_property):
    from lora_forensics.nodes._nulls import placebos_of

    (host, headless), (suspect, vae) = pairs, held
    files = sorted((native_folder / "loras" / "placebos").glob("*.safetensors"))
    latents = torch.randn(6, *host.latent_shape, generator=torch.Generator().manual_seed(4))
    spec = MembershipSpec(timesteps=(100, 500), noises=2)
    groups = (
        placebos_of(suspect, files).group(suspect, vae, SIDE, controls=None),
        placebo_group(headless, files),
    )
    ours, theirs = (
        rank_nulls(g, paired_losses(p, latents, PROMPTS[0], spec), latents, 3, PROMPTS[0], spec)
        for p, g in zip((host, headless), groups, strict=True)
    )
    found = [abs(a - b) for a, b in zip(ours.nulls, theirs.nulls, strict=True)]
    record_testsuite_property("largest difference of placebo effects, sd", str(max(found)))
    assert max(found) < 1e-4, found
    assert abs(ours.value - theirs.value) < 1e-4
    assert (ours.kind, ours.p, ours.photo_p) == (theirs.kind, theirs.p, theirs.photo_p)
    assert min(abs(n - ours.value) for n in ours.nulls) > 0.01  # other adapters, other effects


def test_a_null_leaves_nothing_behind(pairs, held, native_folder):
    """A placebo that was measured and closed does not act in the suspect any more."""
    from lora_forensics.nodes._nulls import placebos_of

    host, (suspect, vae) = pairs[0], held
    files = sorted((native_folder / "loras" / "placebos").glob("*.safetensors"))
    latents = torch.randn(2, *host.latent_shape, generator=torch.Generator().manual_seed(5))
    spec = MembershipSpec(timesteps=(500,), noises=2)
    before = paired_losses(host, latents, PROMPTS[0], spec)
    null = placebos_of(suspect, files).group(suspect, vae, SIDE, controls=None).models[0].open()
    other = paired_losses(null, latents, PROMPTS[0], spec)
    null.close()
    after = paired_losses(host, latents, PROMPTS[0], spec)
    assert torch.equal(before.base, after.base)
    assert torch.equal(before.tuned, after.tuned)
    assert torch.equal(before.base, other.base)
    assert not torch.equal(before.tuned, other.tuned)
