"""The headless backend against diffusers and peft: separate models, merged adapters, pipelines."""

import pytest
import tiny_models
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from lora_forensics.core.backends.loading import load_base, open_pair
from lora_forensics.core.backends.rows import RowAdapter
from lora_forensics.core.sampling.guidance import cfg
from lora_forensics.core.sampling.plans import Job, noise_of, sample_latents
from lora_forensics.core.specs import SampleSpec
from lora_forensics.core.types import BASE, TUNED
from torch import Tensor

PROMPTS = ["a photo of sks", "a painting", "a photo of sks", "x"]
TIMES = [400, 400, 700, 50]


def pipeline(folder, family):
    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    pipe = kind.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def predict(pipe, x: Tensor, time: int, prompt: str, negative=False) -> Tensor:
    """The network's raw output, with diffusers' own text encoding."""
    with torch.no_grad():
        states = pipe.encode_prompt(prompt, device="cpu", num_images_per_prompt=1,
                                    do_classifier_free_guidance=False)  # fmt: skip
        added = tiny_models.told("sdxl", states[2]) if len(states) == 4 else {}
        return pipe.unet(x, time, encoder_hidden_states=states[0], **added).sample


def denoised(out: Tensor, x: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    if prediction == "epsilon":
        return x - sigma * out
    return x / (sigma**2 + 1) - out * sigma / (sigma**2 + 1).sqrt()


@pytest.fixture(scope="module", params=tiny_models.FAMILIES, ids=lambda p: p[0])
def case(request, tmp_path_factory):
    family, prediction = request.param
    folder = tmp_path_factory.mktemp(family)
    base = tiny_models.save_base(folder / "base", family, prediction)
    lora = tiny_models.save_lora(folder / "lora.safetensors", family, text=True, conv=True)
    return family, prediction, base, lora


@pytest.fixture
def pair(case):
    return open_pair(*case[2:], device="cpu")


def with_lora(case):
    """diffusers' pipeline with the adapter loaded, not yet merged."""
    family, _, folder, lora = case
    pipe = pipeline(folder, family)
    pipe.load_lora_weights(lora.parent, weight_name=lora.name, local_files_only=True)
    return pipe


def forward(pair, strengths):
    sigma = pair.sigmas[TIMES].float()
    noise = torch.stack([noise_of(i, pair.latent_shape) for i in range(len(TIMES))])
    x = noise * (1 + sigma.view(-1, 1, 1, 1) ** 2).sqrt()
    with torch.no_grad():
        return x, sigma, pair(x, sigma, pair.condition(PROMPTS, strengths))


def test_one_batched_forward_equals_base_and_merged_model(case, pair):
    family, prediction, folder, _ = case
    x, sigma, out = forward(pair, [BASE, BASE, TUNED, TUNED])
    base, tuned = pipeline(folder, family), with_lora(case)
    tuned.fuse_lora()
    for i, pipe in enumerate([base, base, tuned, tuned]):
        level = sigma[i]
        raw = predict(pipe, x[i : i + 1] / (level**2 + 1).sqrt(), TIMES[i], PROMPTS[i])
        wanted = denoised(raw, x[i : i + 1], level, prediction)[0]
        assert (out[i] - wanted).abs().max() / max(1.0, float(level)) < 1e-5


def test_without_row_strength_the_base_rows_are_wrong(case, pair):
    _, _, right = forward(pair, [BASE, TUNED, BASE, TUNED])
    _, _, all_tuned = forward(pair, [TUNED] * 4)
    change = (right - all_tuned).flatten(1).abs().amax(1)
    assert (change[[0, 2]] > 1e-3).all()
    assert (change[[1, 3]] < 1e-4).all()


def test_strength_zero_is_the_base_exactly(case, pair):
    x, sigma, with_adapter = forward(pair, [BASE] * 4)
    cond = pair.condition(PROMPTS, [BASE] * 4)
    pair.close()
    with torch.no_grad():
        assert torch.equal(with_adapter, pair(x, sigma, cond))


def test_half_and_negative_strength_equal_scaled_merges(case, pair):
    prediction = case[1]
    for scale in (0.5, -1.0):
        tuned = with_lora(case)
        tuned.fuse_lora(lora_scale=scale)
        x, sigma, out = forward(pair, [scale, BASE, scale, BASE])
        raw = predict(tuned, x[:1] / (sigma[0] ** 2 + 1).sqrt(), TIMES[0], PROMPTS[0])
        wanted = denoised(raw, x[:1], sigma[0], prediction)[0]
        assert (out[0] - wanted).abs().max() / max(1.0, float(sigma[0])) < 2e-5


@pytest.mark.filterwarnings("ignore:the prompt")
def test_text_states_equal_encode_prompt(case, pair):
    family, _, folder, _ = case
    cond = pair.condition(["a photo! " * 30], [BASE])
    states = pipeline(folder, family).encode_prompt(
        "a photo! " * 30, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    torch.testing.assert_close(cond.embeds, states[0], atol=1e-6, rtol=0)
    if family == "sdxl":
        torch.testing.assert_close(cond.pooled, states[2], atol=1e-6, rtol=0)


def test_sampling_loop_equals_the_pipeline(case, pair):
    family, _, folder, _ = case
    pipe = pipeline(folder, family)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="leading")
    noise = noise_of(5, pair.latent_shape)
    wanted = pipe(
        PROMPTS[0], negative_prompt="", guidance_scale=3.0, num_inference_steps=8,
        latents=noise[None].clone(), output_type="latent", height=16, width=16,
    ).images[0]  # fmt: skip
    job = Job(0, PROMPTS[0], 5, cfg(3.0, BASE))
    [(_, latents)] = sample_latents(pair, [job], SampleSpec(steps=8))
    assert (latents[0] - wanted).abs().max() < 1e-4
    image = pipe.vae.decode(wanted[None] / pipe.vae.config.scaling_factor).sample
    torch.testing.assert_close(
        pair.decode(latents), (image / 2 + 0.5).clamp(0, 1), atol=1e-4, rtol=0
    )


def test_hooks_equal_peft_layers_that_are_not_merged(case, pair):
    family, _, folder, _ = case
    networks = load_base(folder, device="cpu")
    modules = networks.modules()
    targets = [(modules[c][n], op) for c, n, op in pair.binding.pairs if c == "unet"]
    x, _, _ = forward(pair, [BASE] * 4)
    cond = pair.condition(PROMPTS, [BASE] * 4)
    with RowAdapter(targets) as adapter, adapter.rows(torch.ones(4)), torch.no_grad():
        added, time = tiny_models.told(family, cond.pooled), torch.tensor(TIMES)
        hooked = networks.unet(x, time, encoder_hidden_states=cond.embeds, **added).sample
    tuned = with_lora(case)
    with torch.no_grad():
        wanted = tuned.unet(x, time, encoder_hidden_states=cond.embeds, **added).sample
    assert (hooked - wanted).abs().max() < 1e-5
