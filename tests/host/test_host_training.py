"""LoRAs trained in a graph: what is saved is what was trained, in every family."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lora_forensics.core.sampling.plans import noise_of

from .native_checkpoints import SD3, SD15_BARE
from .training_models import (
    SPEC,
    Clip,
    check_unchanged,
    checkpoint,
    narrow_flux,
    narrow_sdxl,
    state_of,
    train,
)

TOLERANCE = 1e-4
V = {"v_pred": torch.zeros(0)}
MODELS = {
    "sd15": lambda sd15: (sd15[0], Clip()),
    "sdxl": lambda _: narrow_sdxl(),
    "sdxl v": lambda _: narrow_sdxl(**V),
    "flux": lambda _: narrow_flux(),
}


@pytest.fixture(params=[True, False], ids=["inference", "plain"])
def loaded_as_on_a_server(request):
    """A server loads checkpoints in inference mode: autograd may not keep such weights."""
    return request.param


def predictions(comfy, model, vae, clip, trained, path):
    """Of the base, the trained factors themselves, the host's loader, and Load Suspect."""
    from lora_forensics.core.training.learner_factors import Factors
    from lora_forensics.nodes._suspect import suspect_from_file
    from lora_forensics.nodes._training import file_names, model_of

    made = model_of(model, clip, vae, resolution=64, sha256="")
    back = {name: own for own, name in file_names(model).items()}
    weights = {
        f"{back.get(k.rpartition('.lora_')[0], k.rpartition('.lora_')[0])}.lora_"
        f"{k.rpartition('.lora_')[2]}": v
        for k, v in trained.weights.items()
    }
    network = model.model.diffusion_model
    names = {k.rpartition(".lora_")[0] for k in weights}
    factors = Factors({n: network.get_submodule(n) for n in names}, trained.training.spec)
    with torch.no_grad():
        for name, value in weights.items():
            factors.weights[name].copy_(value)
    x = noise_of(3, (2, *made.pair.latent_shape))
    sigma = made.pair.sigmas[[300, 700]].float()
    loaded, _ = comfy.with_lora(model, path)
    with torch.inference_mode():
        rows = made.pair.condition(["a face"] * 2, [0.0, 0.0])
        base = made.pair(x, sigma, rows)
        with factors:
            own = made.pair(x, sigma, rows)
        suspect = suspect_from_file(path, model, None, 1.0)
        with suspect.unnamed_pair(vae, 64) as pair:
            tuned = pair(x, sigma, type(rows)(rows.entries, torch.ones(2), rows.device))
        theirs = model_of(loaded, clip, vae, resolution=64, sha256="").pair
        host = theirs(x, sigma, theirs.condition(["a face"] * 2, [0.0, 0.0]))
    return SimpleNamespace(base=base, own=own, host=host, suspect=tuned, report=suspect)


def check_parity(found, trained):
    for other in (found.host, found.suspect):
        assert (other - found.own).norm() <= TOLERANCE * found.own.norm()
    assert (found.own - found.base).norm() > 10 * TOLERANCE * found.base.norm()
    total = 3 * len(trained.weights) // 2
    assert found.report.coverage.startswith(f"{total} of {total} tensors placed")


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_sd15_file_is_what_was_trained(
    comfy, native_folder, tmp_path, layers, loaded_as_on_a_server
):
    model, _, vae = checkpoint(comfy, native_folder, SD15_BARE, loaded_as_on_a_server)
    before, clip, path = state_of(model), Clip(), tmp_path / "a.safetensors"
    trained, words = train(model, clip, vae, path, replace(SPEC, layers=layers))
    check_unchanged(model, before)
    assert (
        trained.training.family,
        trained.training.prediction,
        len(trained.training.captions),
    ) == ("sd1", "epsilon", 3)
    assert len(trained.losses) == 5
    assert all(name.startswith(("down_", "up_")) for name in trained.weights)
    found = predictions(comfy, model, vae, clip, trained, path)
    check_parity(found, trained)
    claims = found.report.inspection.claims
    assert (claims.steps, claims.batch, claims.images) == (5, 2, 3)
    assert "5 steps of 2" in words
    # The host's loader patched it for `predictions`.
    comfy.model_management.load_models_gpu([model])
    check_unchanged(model, before)


def test_sd3_trains_in_velocity_units(comfy, native_folder, tmp_path):
    model, _, vae = checkpoint(comfy, native_folder, SD3)
    before, clip, path = state_of(model), Clip("sd3"), tmp_path / "a.safetensors"
    trained, _ = train(model, clip, vae, path)
    check_unchanged(model, before)
    assert (trained.training.family, trained.training.prediction) == ("sd3", "flow")
    found = predictions(comfy, model, vae, clip, trained, path)
    check_parity(found, trained)


@pytest.mark.parametrize("state", [{}, V], ids=["epsilon", "v"])
def test_sdxl_is_written_in_names_that_read_back(comfy, sd15, tmp_path, state):
    (model, clip), vae = narrow_sdxl(**state), sd15[2]
    before, path = state_of(model), tmp_path / "a.safetensors"
    trained, _ = train(model, clip, vae, path)
    check_unchanged(model, before)
    assert (trained.training.family, trained.training.prediction == "v_prediction") == (
        "sdxl",
        bool(state),
    )
    assert any(name.startswith("mid_block.attentions") for name in trained.weights)
    check_parity(predictions(comfy, model, vae, clip, trained, path), trained)


def test_flux_reads_back_too(comfy, native_folder, tmp_path):
    (model, clip), vae = narrow_flux(), checkpoint(comfy, native_folder, SD3)[2]
    before, path = state_of(model), tmp_path / "a.safetensors"
    trained, _ = train(model, clip, vae, path)
    check_unchanged(model, before)
    assert (trained.training.family, trained.training.prediction) == ("flux", "flow")
    assert len(trained.weights) == 2 * 10
    check_parity(predictions(comfy, model, vae, clip, trained, path), trained)


def own_target(prediction, x0, eps, sigma):
    signal = 1 / (1 + sigma**2).sqrt()
    return {
        "epsilon": eps,
        "v_prediction": signal * eps - sigma * signal * x0,
        "flow": eps - x0,
    }[prediction]


@pytest.mark.parametrize("kind", MODELS)
def test_the_loss_is_that_of_the_networks_own_output(sd15, monkeypatch, kind):
    """The network's raw output, caught on its way, against the target of its training."""
    from lora_forensics.core.training.learner_pair import PairLearner
    from lora_forensics.nodes._training import learning, model_of

    model, clip = MODELS[kind](sd15)
    made = model_of(model, clip, sd15[2], resolution=64, sha256="")
    outputs, sampling = [], model.get_model_object("model_sampling")
    real = type(sampling).calculate_denoised

    def caught(self, sigma, output, given):
        outputs.append(output)
        return real(self, sigma, output, given)

    monkeypatch.setattr(type(sampling), "calculate_denoised", caught)
    x0, eps = (noise_of(i, (3, *made.pair.latent_shape)) for i in (1, 2))
    steps = torch.tensor([20, 500, 900])
    with learning(model), made.factors(SPEC) as factors:
        learner = PairLearner(made.pair, factors, made.pair.condition([""], [0.0]))
        loss = learner.loss(x0, eps, steps, torch.zeros(3, dtype=torch.long))
    sigma = made.pair.sigmas[steps].float().view(-1, 1, 1, 1)
    error = outputs[0] - own_target(made.pair.prediction, x0, eps, sigma)
    assert loss.item() == pytest.approx(error.square().mean().item(), rel=1e-3)


@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_gradients_are_the_slope_of_the_loss(sd15, kind):
    """Against a finite difference: Flux's blocks write over what gradients need."""
    from lora_forensics.core.training.learner_pair import PairLearner
    from lora_forensics.nodes._training import learning, model_of

    model, clip = MODELS[kind](sd15)
    made = model_of(model, clip, sd15[2], resolution=64, sha256="")
    x0, eps = (noise_of(i, (2, *made.pair.latent_shape)) for i in (1, 2))
    batch = x0, eps, torch.tensor([300, 800]), torch.zeros(2, dtype=torch.long)
    with learning(model), made.factors(SPEC) as factors:
        for i, w in enumerate(factors.weights.values()):
            w.data += 0.05 * noise_of(i, w.shape)
        learner = PairLearner(made.pair, factors, made.pair.condition([""], [0.0]))
        learner.loss(*batch).backward()
        slope = sum(w.grad.square().sum() for w in factors.weights.values()).sqrt()
        step, ends = 0.02 / slope, []
        for sign in (1, -1):
            for w in factors.weights.values():
                w.data += sign * (1 if sign > 0 else 2) * step * w.grad / slope
            ends.append(learner.loss(*batch).item())
    assert (ends[0] - ends[1]) / (2 * step.item()) == pytest.approx(slope.item(), rel=0.02)


def test_a_base_with_a_lora_of_its_own_is_a_base(comfy, sd15, native_folder, tmp_path):
    with torch.inference_mode():
        base, _ = comfy.with_lora(sd15[0], native_folder / "loras" / "sd15_locon.safetensors")
    before, path = state_of(sd15[0]), tmp_path / "a.safetensors"
    trained, _ = train(base, Clip(), sd15[2], path)
    alone, _ = train(sd15[0], Clip(), sd15[2], tmp_path / "b.safetensors")
    assert trained.training.base_sha256 != alone.training.base_sha256
    assert trained.losses != alone.losses
    check_parity(predictions(comfy, base, sd15[2], Clip(), trained, path), trained)
    comfy.model_management.load_models_gpu([sd15[0]])
    check_unchanged(sd15[0], before)


def test_half_networks_learn_too(comfy, native_folder, tmp_path):
    path = native_folder / "checkpoints" / SD15_BARE
    with torch.inference_mode():
        found = comfy.sd.load_checkpoint_guess_config(
            str(path), model_options={"dtype": torch.bfloat16}
        )
    model, _, vae = found[:3]
    model.model.manual_cast_dtype = None
    before = state_of(model)
    trained, _ = train(model, Clip(), vae, tmp_path / "a.safetensors")
    assert trained.training.dtype == torch.bfloat16
    assert {w.dtype for w in trained.weights.values()} == {torch.float32}
    check_unchanged(model, before)
    moved = [w.abs().sum() for k, w in trained.weights.items() if "lora_B" in k]
    assert all(moved)


def test_every_trained_pair_moves(sd15, tmp_path):
    """No layer is left out by an attention that has no gradients."""
    trained, _ = train(sd15[0], Clip(), sd15[2], tmp_path / "a.safetensors")
    assert all(w.any() for k, w in trained.weights.items() if "lora_B" in k)
