"""What a pair refuses, caches, hashes, and never does."""

import json
import shutil
import socket

import pytest
import tiny_models
import torch
from diffusers.models import modeling_utils
from lora_forensics.core.backends import folders
from lora_forensics.core.backends.folders import sha256_folder
from lora_forensics.core.backends.loading import load_base, open_pair, pair_of
from lora_forensics.core.backends.networks import sigmas_of
from lora_forensics.core.errors import (
    InputError,
    LoraFormatError,
    MissingWeightsError,
    Notice,
    RunError,
    UnsafeFileError,
)
from lora_forensics.core.protocols import ModelPair
from lora_forensics.core.sampling.guidance import cfg
from lora_forensics.core.sampling.plans import noise_of, plan, sample_latents
from lora_forensics.core.specs import SampleSpec
from lora_forensics.core.types import BASE, TUNED
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_models.save_base(folder / "base")
    tiny_models.save_lora(folder / "lora.safetensors", text=True)
    tiny_models.save_dreambooth(folder / "dreambooth", text=True)
    return folder


@pytest.fixture(scope="module")
def pair(files):
    return open_pair(files / "base", files / "lora.safetensors", device="cpu")


def predictions(pair, strengths):
    x = noise_of(0, pair.latent_shape).expand(len(strengths), -1, -1, -1)
    sigma = torch.full((len(strengths),), 1.0)
    with torch.no_grad():
        return pair(x, sigma, pair.condition(["a cat"] * len(strengths), strengths))


def test_it_is_a_model_pair(pair):
    assert isinstance(pair, ModelPair)
    assert pair.latent_shape == (4, 8, 8)
    assert pair.resolution == 16
    assert pair.output_change > 0.01
    assert json.loads(json.dumps(pair.describe()))["family"] == "sd1"
    assert pair.binding.pairs
    assert pair.lora.sha256 == pair.hashes.tuned


def test_pixels_come_back_in_bounds_and_means_are_deterministic(pair):
    pixels = torch.rand(5, 3, 16, 16)
    latents = pair.encode(pixels)
    assert latents.shape == (5, 4, 8, 8)
    assert torch.equal(latents, pair.encode(pixels))
    image = pair.decode(latents * 50)
    assert image.dtype == torch.float32
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_prompts_are_encoded_once_for_each_model(pair):
    calls = []
    encoder = pair.networks.text_encoders[0]
    handle = encoder.register_forward_hook(lambda *a: calls.append(1))
    first = pair.condition(["new words", "new words", ""], [BASE, TUNED, BASE])
    again = pair.condition(["new words", "new words", ""], [BASE, TUNED, BASE])
    handle.remove()
    assert len(calls) == 1
    assert torch.equal(first.embeds, again.embeds)
    assert (first.embeds[0] - first.embeds[1]).abs().max() > 1e-3


def test_long_prompts_are_named(pair):
    with pytest.warns(Notice, match=r"'very long .* has \d+ tokens; only the first 77 count"):
        pair.condition(["very long words " * 40], [BASE])


def test_without_accelerate_diffusers_has_nothing_to_say(files, monkeypatch):
    warned = []
    monkeypatch.setattr(modeling_utils.logger, "warning", warned.append)
    for module in (modeling_utils, folders):
        monkeypatch.setattr(module, "is_accelerate_available", lambda: False)
    base = load_base(files / "base", device="cpu")
    assert base.unet.conv_out.weight.isfinite().all()
    assert warned == []


def test_dreambooth_rows_go_to_their_own_networks(files):
    pair = open_pair(files / "base", files / "dreambooth", device="cpu")
    out = predictions(pair, [BASE, TUNED])
    bases = [open_pair(files / a, files / b, device="cpu")
             for a, b in (("base", "dreambooth"), ("dreambooth", "base"))]  # fmt: skip
    for row, other in zip(out, bases, strict=True):
        torch.testing.assert_close(row, predictions(other, [BASE])[0], atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="BAD_STRENGTH"):
        predictions(pair, [0.5])
    with pytest.raises(InputError, match="BAD_STRENGTH"):
        open_pair(files / "base", files / "dreambooth", strength=0.5, device="cpu")


def test_a_dreambooth_folder_may_hold_the_unet_alone(files, tmp_path):
    shutil.copytree(files / "dreambooth" / "unet", tmp_path / "unet")
    whole = tiny_models.save_dreambooth(tmp_path / "whole")
    alone = open_pair(files / "base", tmp_path, device="cpu")
    assert alone.describe()["tuned_kind"] == "checkpoint"
    assert whole.is_dir()
    assert predictions(alone, [TUNED]).isfinite().all()


def test_strength_scales_what_a_tuned_row_means(files, pair):
    half = open_pair(files / "base", files / "lora.safetensors", strength=0.5, device="cpu")
    torch.testing.assert_close(
        predictions(half, [TUNED]), predictions(pair, [0.5]), atol=1e-5, rtol=0
    )


def test_no_socket_is_opened(files, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    found = open_pair(files / "base", files / "lora.safetensors", device="cpu")
    jobs = plan(["a cat"], [cfg(3.0)], 1, 0)
    [(_, latents)] = sample_latents(found, jobs, SampleSpec(steps=2))
    assert found.decode(latents).isfinite().all()


def test_row_batches_are_halved_when_memory_ends(files):
    pair = open_pair(files / "base", files / "lora.safetensors", device="cpu")
    wanted = predictions(pair, [BASE, TUNED] * 3)
    forward = pair.networks.unet.forward

    def small(x, *args, **kwargs):
        if len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(x, *args, **kwargs)

    pair.networks.unet.forward = small
    torch.testing.assert_close(predictions(pair, [BASE, TUNED] * 3), wanted, atol=1e-5, rtol=0)
    assert pair.describe()["row_limit"] == 1


def test_hash_of_a_folder_moves_with_its_files(files, tmp_path):
    copy = shutil.copytree(files / "base", tmp_path / "other")
    assert sha256_folder(copy) == sha256_folder(files / "base")
    (copy / "notes.md").write_text("no model file")
    assert sha256_folder(copy) == sha256_folder(files / "base")
    save_file({"x": torch.ones(1)}, copy / "unet" / "more.safetensors")
    assert sha256_folder(copy) != sha256_folder(files / "base")


def edited(files, tmp_path, change):
    tensors = load_file(files / "lora.safetensors")
    path = tmp_path / "edited.safetensors"
    save_file({k: change(k, v).contiguous() for k, v in tensors.items()}, path)
    return path


def test_an_adapter_that_changes_nothing_is_no_clean_result(files, tmp_path):
    zero = edited(files, tmp_path, lambda k, v: v * 0 if "lora_B" in k else v)
    with pytest.raises(LoraFormatError, match="NOT_APPLIED"):
        open_pair(files / "base", zero, device="cpu")
    with pytest.raises(LoraFormatError, match="NOT_APPLIED"):
        open_pair(files / "base", files / "base", device="cpu")
    with pytest.raises(LoraFormatError, match="NOT_APPLIED"):
        open_pair(files / "base", files / "lora.safetensors", strength=0.0, device="cpu")


def test_predictions_that_are_not_finite_end_the_run(files):
    networks = load_base(files / "base", device="cpu")
    networks.unet.conv_out.weight.data[:] = float("nan")
    with pytest.raises(RunError, match="NON_FINITE"):
        pair_of(networks, files / "lora.safetensors")
    assert not any(m._forward_hooks for m in networks.unet.modules())


def test_wrong_bases_are_refused(files, tmp_path):
    xl = tiny_models.save_base(tmp_path / "xl", "sdxl")
    for tuned in ("lora.safetensors", "dreambooth"):
        with pytest.raises(LoraFormatError, match="WRONG_BASE"):
            open_pair(xl, files / tuned, device="cpu")
    shutil.copytree(xl / "unet", tmp_path / "alone" / "unet")
    with pytest.raises(LoraFormatError, match=r"WRONG_BASE.*SDXL"):
        open_pair(files / "base", tmp_path / "alone", device="cpu")


def test_an_adapter_is_no_base(files, tmp_path):
    with pytest.raises(InputError, match="NOT_A_CHECKPOINT"):
        load_base(files / "lora.safetensors")
    shutil.copy(files / "lora.safetensors", tmp_path / "pytorch_lora_weights.safetensors")
    with pytest.raises(InputError, match="NOT_A_CHECKPOINT"):
        load_base(tmp_path)
    assert open_pair(files / "base", tmp_path, device="cpu").lora is not None


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin"])
def test_pickles_are_refused_by_name(files, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x80\x04.")
    for base, tuned in ((path, files / "lora.safetensors"), (files / "base", path)):
        with pytest.raises(UnsafeFileError, match="PICKLE"):
            open_pair(base, tuned, device="cpu")


def test_folders_with_pickled_weights_only_are_refused(files, tmp_path):
    base = shutil.copytree(files / "base", tmp_path / "base")
    weights = next((base / "unet").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UnsafeFileError, match="PICKLE"):
        load_base(base)
    weights.with_suffix(".bin").unlink()
    with pytest.raises(MissingWeightsError, match="MISSING_FILE"):
        load_base(base)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingWeightsError, match="MISSING_FILE"):
        load_base(tmp_path / "nothing")
    with pytest.raises(MissingWeightsError, match="scheduler_config"):
        load_base(tmp_path)


def test_zero_terminal_snr_is_clamped():
    sigmas = sigmas_of({"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True})
    assert sigmas.isfinite().all()
    assert (sigmas.diff() > 0).all()
    assert float(sigmas[-1]) == pytest.approx(4096, rel=1e-3)


def test_inpainting_models_are_refused_by_name(files, tmp_path):
    base = shutil.copytree(files / "base", tmp_path / "base")
    config = json.loads((base / "vae" / "config.json").read_text())
    config["latents_mean"] = [0.0] * 4
    (base / "vae" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"UNSUPPORTED_MODEL.*Playground"):
        load_base(base)
