"""The model-guidance GUIDER inside the host's own sampler."""

from __future__ import annotations

import pytest
import torch
from lora_forensics.core.sampling.guidance import combine, model_guidance

from .inprocess import conditioning
from .native_checkpoints import SD3, SD15_DREAMBOOTH

STEPS = 3


def lora_suspect(native_folder, model, name="sd15_locon"):
    from lora_forensics.nodes._suspect import suspect_from_file

    return suspect_from_file(native_folder / "loras" / f"{name}.safetensors", model, None, 1.0)


def two_networks(comfy, native_folder, model):
    from lora_forensics.nodes._suspect import suspect_from_models

    tuned, _, _ = comfy.checkpoint(native_folder / "checkpoints" / SD15_DREAMBOOTH)
    return suspect_from_models(model, None, tuned, None, "dreambooth")


def guided(comfy, suspect, weight, correction=0.0, *, family="sd15", channels=4, record=None):
    from lora_forensics.nodes._guiders import guider_of

    guider = guider_of(suspect)
    guider.set_conds(conditioning(family, 1), conditioning(family, 2))
    guider.set_rule(weight, correction)
    if record is not None:
        keep = guider.predict_noise

        def predict(x, timestep, model_options=None, seed=None):
            out = keep(x, timestep, model_options, seed)
            record.append((x, *guider.predictions(x, timestep, model_options), out))
            return out

        guider.predict_noise = predict
    sampling = suspect.base.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)
    noise = torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return guider.sample(
            noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sigmas, seed=1
        )


def close(a, b, tolerance=1e-4):
    return float((a - b).norm() / b.norm()) < tolerance


@pytest.mark.parametrize("make", ["adapter", "checkpoint"])
def test_weights_zero_and_one_are_the_two_models(comfy, native_folder, sd15, make):
    model = sd15[0]
    suspect = (
        lora_suspect(native_folder, model)
        if make == "adapter"
        else two_networks(comfy, native_folder, model)
    )
    base = comfy.ksampler(
        suspect.base, conditioning(seed=2), conditioning(seed=2), cfg=1.0, steps=STEPS
    )
    tuned = comfy.ksampler(
        suspect.tuned, conditioning(seed=1), conditioning(seed=1), cfg=1.0, steps=STEPS
    )
    assert close(guided(comfy, suspect, 0.0), base)
    assert close(guided(comfy, suspect, 1.0), tuned)
    assert not close(base, tuned, 0.01)


@pytest.mark.parametrize(("weight", "correction"), [(2.5, 0.0), (3.0, -0.02)])
def test_each_step_follows_the_rule(comfy, native_folder, sd15, weight, correction):
    suspect, seen = lora_suspect(native_folder, sd15[0]), []
    guided(comfy, suspect, weight, correction, record=seen)
    assert len(seen) == STEPS
    for x, tuned, base, out in seen:
        wanted = combine(x, [tuned, base], model_guidance(weight, correction))
        assert close(out, wanted, 1e-5)


def test_flow_models_are_guided_too(comfy, native_folder):
    model, _, _ = comfy.checkpoint(native_folder / "checkpoints" / SD3)
    suspect = lora_suspect(native_folder, model, "sd3_split")
    found = [guided(comfy, suspect, w, family="sd3", channels=16) for w in (0.0, 1.0, 2.0)]
    assert all(latent.isfinite().all() for latent in found)
    assert not close(found[0], found[1], 1e-3)
    assert not close(found[1], found[2], 1e-3)


def test_nothing_stays_behind(comfy, native_folder, sd15):
    model = sd15[0]
    suspect = lora_suspect(native_folder, model)
    before = comfy.ksampler(model, conditioning(seed=1), conditioning(seed=2), steps=STEPS)
    guided(comfy, suspect, 2.0)
    assert not any(m._forward_hooks for m in model.model.modules())
    after = comfy.ksampler(model, conditioning(seed=1), conditioning(seed=2), steps=STEPS)
    assert torch.equal(before, after)


def test_an_error_while_sampling_leaves_nothing_behind(comfy, native_folder, sd15, monkeypatch):
    from lora_forensics.nodes import _guiders

    model = sd15[0]
    suspect = lora_suspect(native_folder, model)

    def fail(*_, **__):
        raise RuntimeError("stopped")

    monkeypatch.setattr(_guiders.OneNetworkGuider, "predictions", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        guided(comfy, suspect, 2.0)
    assert not any(m._forward_hooks for m in model.model.modules())
