"""One network answers as two: equal to what the host's own LoRA loader gives."""

from __future__ import annotations

import pytest
import torch
from lora_forensics.core.errors import LoraFormatError
from lora_forensics.core.types import BASE, TUNED

from .inprocess import conditioning
from .native_checkpoints import SD3, SD15_DREAMBOOTH

SD15_LORAS = (
    "sd15_kohya", "sd15_locon", "sd15_processors", "sd15_dora", "sd15_loha", "sd15_lokr",
    "sd15_differences",
)  # fmt: skip
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def sd3(comfy, native_folder):
    return comfy.checkpoint(native_folder / "checkpoints" / SD3)


def lora(native_folder, name):
    return native_folder / "loras" / f"{name}.safetensors"


def host_prediction(comfy, patcher, x, sigma, cond):
    """The host's own forward of one model, its patches baked in."""
    from comfy.sampler_helpers import convert_cond
    from lora_forensics.nodes._pair import forward

    comfy.model_management.load_models_gpu([patcher])
    conds = comfy.samplers.process_conds(
        patcher.model, x, {"positive": convert_cond(cond)}, patcher.load_device
    )
    return forward(patcher, x, sigma, [conds["positive"][0]["model_conds"]] * len(x))


def compare_rows(comfy, suspect, vae, family, channels, cond_family):
    from comfy.sampler_helpers import convert_cond
    from lora_forensics.nodes._pair import HostRows

    cond = conditioning(cond_family)
    x = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(), suspect.pair(vae, 64) as pair:
        sigma = pair.sigmas[500].float().expand(2)
        entry = convert_cond(cond)[0]
        rows = HostRows((entry,) * 4, torch.tensor([BASE, TUNED] * 2), torch.device("cpu"))
        order = [0, 0, 1, 1]
        mixed = pair(x[order], sigma.repeat(2), rows).view(2, 2, channels, 8, 8)
        assert pair.family == family
    with torch.inference_mode():
        base = host_prediction(comfy, suspect.base, x, sigma, cond)
        tuned = host_prediction(comfy, suspect.tuned, x, sigma, cond)
    for got, wanted in ((mixed[:, 0], base), (mixed[:, 1], tuned)):
        assert (got - wanted).norm() <= TOLERANCE * wanted.norm()
    assert (tuned - base).norm() > 100 * TOLERANCE * base.norm()


@pytest.mark.parametrize("name", SD15_LORAS)
def test_sd15_rows_equal_the_loaders_result(comfy, native_folder, sd15, name):
    from lora_forensics.nodes._suspect import suspect_from_file

    model, _, vae = sd15
    suspect = suspect_from_file(lora(native_folder, name), model, None, 1.0)
    compare_rows(comfy, suspect, vae, "SD15", 4, "sd15")


@pytest.mark.parametrize("name", ["sd3_fused", "sd3_split"])
def test_sd3_rows_equal_the_loaders_result(comfy, native_folder, sd3, name):
    from lora_forensics.nodes._suspect import suspect_from_file

    model, _, vae = sd3
    suspect = suspect_from_file(lora(native_folder, name), model, None, 0.7)
    compare_rows(comfy, suspect, vae, "SD3", 16, "sd3")


def test_a_chain_of_loaders_is_a_suspect_too(comfy, native_folder, sd15):
    from lora_forensics.nodes._suspect import suspect_from_models

    model, _, vae = sd15
    first, _ = comfy.with_lora(model, lora(native_folder, "sd15_locon"), strength=0.5)
    second, _ = comfy.with_lora(first, lora(native_folder, "sd15_kohya"))
    suspect = suspect_from_models(model, None, second, None, "chain")
    assert not suspect.own_network
    compare_rows(comfy, suspect, vae, "SD15", 4, "sd15")
    # On top of a base that carries a LoRA itself, only the second one is under suspicion.
    later = suspect_from_models(first, None, second, None, "later")
    assert 0 < len(later.changes) < len(suspect.changes)
    compare_rows(comfy, later, vae, "SD15", 4, "sd15")


def test_a_checkpoint_of_its_own_is_two_networks(comfy, native_folder, sd15):
    from lora_forensics.nodes._suspect import suspect_from_models

    model, _, vae = sd15
    tuned, _, _ = comfy.checkpoint(native_folder / "checkpoints" / SD15_DREAMBOOTH)
    suspect = suspect_from_models(model, None, tuned, None, "dreambooth")
    assert suspect.own_network
    compare_rows(comfy, suspect, vae, "SD15", 4, "sd15")


def test_the_same_model_twice_is_refused(sd15):
    from lora_forensics.nodes._suspect import suspect_from_models

    with pytest.raises(LoraFormatError, match="NOT_APPLIED"):
        suspect_from_models(sd15[0], None, sd15[0].clone(), None, "same")


def test_the_graphs_model_is_untouched(comfy, native_folder, sd15):
    from lora_forensics.nodes._suspect import suspect_from_file, weights_sha256

    model, _, vae = sd15
    before = weights_sha256(model)
    suspect = suspect_from_file(lora(native_folder, "sd15_locon"), model, None, 1.0)
    with suspect.pair(vae, 64) as pair:
        pair._load((1, 4, 8, 8))
        hooked = sum(len(m._forward_hooks) for m in model.model.modules())
    assert hooked == len(suspect.changes)
    assert not any(m._forward_hooks for m in model.model.modules())
    assert weights_sha256(model) == before
    assert not model.patches
