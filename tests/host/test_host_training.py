"""LoRAs trained in a graph: what is saved is what was trained, and the base stays as it was."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lora_forensics.core.errors import ForensicsError, InputError, NotEnoughDataError
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.specs import FinetuneSpec
from safetensors.torch import load_file, save_file

from .inprocess import conditioning
from .native_checkpoints import SD3, SD15, SD15_BARE
from .prompts import node, text_to_image

TOLERANCE = 1e-4
SPEC = FinetuneSpec(
    steps=5, batch=2, rank=3, alpha=2.0, learning_rate=1e-2, save_every=2, caption_dropout=0.3
)


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


@pytest.fixture(params=[True, False], ids=["inference", "plain"])
def loaded_as_on_a_server(request):
    """A server loads checkpoints in inference mode: autograd may not keep such weights."""
    return request.param


def checkpoint(comfy, native_folder, name, inference=True):
    with torch.inference_mode(inference):
        return comfy.checkpoint(native_folder / "checkpoints" / name)


@pytest.fixture(scope="module")
def sd15(comfy, native_folder):
    return checkpoint(comfy, native_folder, SD15_BARE)


@pytest.fixture
def photos():
    from lora_forensics.nodes.loaders import photos_from

    with torch.inference_mode():
        return photos_from([torch.stack([noise_of(i, (64, 64, 3)).sigmoid() for i in range(3)])])


CAPTIONS = ["a face", "a face", "another one"]


def train(model, clip, vae, photos, path, spec=SPEC, captions=CAPTIONS):
    from lora_forensics.nodes._retraining import train_lora

    with torch.inference_mode():
        return train_lora(model, clip, vae, photos, captions, spec, resolution=64, path=path)


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
    comfy, native_folder, photos, tmp_path, layers, loaded_as_on_a_server
):
    model, _, vae = checkpoint(comfy, native_folder, SD15_BARE, loaded_as_on_a_server)
    before, clip, path = state_of(model), Clip(), tmp_path / "a.safetensors"
    trained, words = train(model, clip, vae, photos, path, replace(SPEC, layers=layers))
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
    comfy.model_management.load_models_gpu(
        [model]
    )  # the host's loader patched it for `predictions`
    check_unchanged(model, before)


def test_sd3_trains_in_velocity_units(comfy, native_folder, photos, tmp_path):
    model, _, vae = checkpoint(comfy, native_folder, SD3)
    before, clip, path = state_of(model), Clip("sd3"), tmp_path / "a.safetensors"
    trained, _ = train(model, clip, vae, photos, path)
    check_unchanged(model, before)
    assert (trained.training.family, trained.training.prediction) == ("sd3", "flow")
    found = predictions(comfy, model, vae, clip, trained, path)
    check_parity(found, trained)


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


def tiny(comfy, kind, config, **state):
    """A family's class with narrow layers: SDXL's depths and Flux's width are fixed, GBs each."""
    import comfy.model_patcher
    import comfy.supported_models as known

    made = getattr(known, kind)(dict(config))
    made.sampling_settings = dict(made.sampling_settings)  # the host writes into the class's own
    made.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    with torch.inference_mode():
        network = made.get_model(state, "", cpu)
        for i, (name, p) in enumerate(network.diffusion_model.named_parameters()):
            if p.ndim > 1:
                p.copy_(noise_of(i, p.shape) / p[0].numel() ** 0.5)
            else:
                p.fill_(float(not name.endswith("bias")))
    return comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu)


@pytest.mark.parametrize("state", [{}, {"v_pred": torch.zeros(0)}], ids=["epsilon", "v"])
def test_sdxl_is_written_in_names_that_read_back(comfy, sd15, photos, tmp_path, state):
    model, vae = tiny(comfy, "SDXL", SDXL_CONFIG, **state), sd15[2]
    before, path = state_of(model), tmp_path / "a.safetensors"
    clip = Clip(pooled=(64, 1280))
    trained, _ = train(model, clip, vae, photos, path)
    check_unchanged(model, before)
    assert (trained.training.family, trained.training.prediction == "v_prediction") == (
        "sdxl",
        bool(state),
    )
    assert any(name.startswith("mid_block.attentions") for name in trained.weights)
    check_parity(predictions(comfy, model, vae, clip, trained, path), trained)


def test_flux_reads_back_too(comfy, native_folder, photos, tmp_path):
    model, vae = tiny(comfy, "Flux", FLUX_CONFIG), checkpoint(comfy, native_folder, SD3)[2]
    before, path, clip = state_of(model), tmp_path / "a.safetensors", Clip(pooled=(64, 24))
    trained, _ = train(model, clip, vae, photos, path)
    check_unchanged(model, before)
    assert (trained.training.family, trained.training.prediction) == ("flux", "flow")
    assert len(trained.weights) == 2 * 10
    check_parity(predictions(comfy, model, vae, clip, trained, path), trained)


def model_and_clip(comfy, sd15, kind):
    if kind == "sd15":
        return sd15[0], Clip()
    if kind == "flux":
        return tiny(comfy, "Flux", FLUX_CONFIG), Clip(pooled=(64, 24))
    state = {"v_pred": torch.zeros(0)} if kind == "sdxl v" else {}
    return tiny(comfy, "SDXL", SDXL_CONFIG, **state), Clip(pooled=(64, 1280))


def own_target(prediction, x0, eps, sigma):
    signal = 1 / (1 + sigma**2).sqrt()
    return {
        "epsilon": eps,
        "v_prediction": signal * eps - sigma * signal * x0,
        "flow": eps - x0,
    }[prediction]


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "sdxl v", "flux"])
def test_the_loss_is_that_of_the_networks_own_output(comfy, sd15, monkeypatch, kind):
    """The network's raw output, caught on its way, against the target of its training."""
    from lora_forensics.core.training.learner_pair import PairLearner
    from lora_forensics.nodes._training import learning, model_of

    model, clip = model_and_clip(comfy, sd15, kind)
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
def test_gradients_are_the_slope_of_the_loss(comfy, sd15, kind):
    """Against a finite difference: Flux's blocks write over what gradients need."""
    from lora_forensics.core.training.learner_pair import PairLearner
    from lora_forensics.nodes._training import learning, model_of

    model, clip = model_and_clip(comfy, sd15, kind)
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


def test_a_base_with_a_lora_of_its_own_is_a_base(comfy, sd15, native_folder, photos, tmp_path):
    with torch.inference_mode():
        base, _ = comfy.with_lora(sd15[0], native_folder / "loras" / "sd15_locon.safetensors")
    before, path = state_of(sd15[0]), tmp_path / "a.safetensors"
    trained, _ = train(base, Clip(), sd15[2], photos, path)
    alone, _ = train(sd15[0], Clip(), sd15[2], photos, tmp_path / "b.safetensors")
    assert trained.training.base_sha256 != alone.training.base_sha256
    assert trained.losses != alone.losses
    check_parity(predictions(comfy, base, sd15[2], Clip(), trained, path), trained)
    comfy.model_management.load_models_gpu([sd15[0]])
    check_unchanged(sd15[0], before)


def test_an_interrupt_leaves_the_base_and_resumes(comfy, sd15, photos, tmp_path, monkeypatch):
    import comfy.model_management as memory

    model, _, vae = sd15
    before, spec = state_of(model), replace(SPEC, seed=11)
    whole, _ = train(model, Clip(), vae, photos, tmp_path / "a.safetensors", spec)
    _forget_work()
    calls, real = [], memory.throw_exception_if_processing_interrupted

    def after_four_forwards():
        # Hashing and loading ask too; only forwards run with gradients on.
        calls.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        if sum(calls) > 4:
            raise memory.InterruptProcessingException
        real()

    with monkeypatch.context() as patch:
        patch.setattr(memory, "throw_exception_if_processing_interrupted", after_four_forwards)
        with pytest.raises(memory.InterruptProcessingException):
            train(model, Clip(), vae, photos, tmp_path / "b.safetensors", spec)
    assert not (tmp_path / "b.safetensors").exists()
    check_unchanged(model, before)
    bars = _bars(monkeypatch)
    again, _ = train(model, Clip(), vae, photos, tmp_path / "b.safetensors", spec)
    assert bars == [("fine-tuning", 5, 4)]
    assert again.losses == whole.losses
    assert all(torch.equal(again.weights[k], v) for k, v in whole.weights.items())
    bars.clear()
    train(model, Clip(), vae, photos, tmp_path / "c.safetensors", spec)
    assert bars == []
    first, *others = (load_file(tmp_path / f"{n}.safetensors") for n in "abc")
    assert all(torch.equal(other[k], v) for k, v in first.items() for other in others)


def test_half_networks_learn_too(comfy, native_folder, photos, tmp_path):
    path = native_folder / "checkpoints" / SD15_BARE
    with torch.inference_mode():
        found = comfy.sd.load_checkpoint_guess_config(
            str(path), model_options={"dtype": torch.bfloat16}
        )
    model, _, vae = found[:3]
    model.model.manual_cast_dtype = None
    before = state_of(model)
    trained, _ = train(model, Clip(), vae, photos, tmp_path / "a.safetensors")
    assert trained.training.dtype == torch.bfloat16
    assert {w.dtype for w in trained.weights.values()} == {torch.float32}
    check_unchanged(model, before)
    moved = [w.abs().sum() for k, w in trained.weights.items() if "lora_B" in k]
    assert all(moved)


def test_every_trained_pair_moves(comfy, sd15, photos, tmp_path):
    """No layer is left out by an attention that has no gradients."""
    trained, _ = train(sd15[0], Clip(), sd15[2], photos, tmp_path / "a.safetensors")
    assert all(w.any() for k, w in trained.weights.items() if "lora_B" in k)


CLAIMS = {
    "ss_steps": "3", "ss_unet_lr": "0.01", "ss_network_alpha": "4", "ss_total_batch_size": "2",
    "ss_dataset_dirs": '{"1_x": {"n_repeats": 1, "img_count": 3}}',
}  # fmt: skip


@pytest.fixture
def controls():
    from lora_forensics.nodes.loaders import photos_from

    return photos_from([torch.stack([noise_of(50 + i, (64, 64, 3)).sigmoid() for i in range(10)])])


@pytest.fixture
def suspect(sd15, native_folder, tmp_path):
    from lora_forensics.nodes._suspect import suspect_from_file

    path = tmp_path / "suspect.safetensors"
    save_file(load_file(native_folder / "loras" / "sd15_kohya.safetensors"), path, CLAIMS)
    return suspect_from_file(path, sd15[0], Clip(), 0.8, base_sha256="b" * 64)


def counterfactuals(suspect, vae, controls, **changed):
    from lora_forensics.nodes._retraining import counterfactuals_of

    given = {"caption": "a face", "count": 2, "seed": 4, "resolution": 64, **changed}
    with torch.inference_mode():
        return counterfactuals_of(
            suspect, vae, controls, given.pop("caption"), given.pop("count"), **given
        )


def test_counterfactuals_repeat_the_recipe(sd15, suspect, controls, monkeypatch):
    from lora_forensics.core.training.counterfactual import split_controls
    from lora_forensics.nodes.loaders import photos_from

    model, _, vae = sd15
    before = state_of(model)
    made = counterfactuals(suspect, vae, controls)
    check_unchanged(model, before)
    ours = controls.at(64, "control")
    group = made.group(suspect, vae, 64, ours)
    assert group.kind == "counterfactual"
    assert group.controls == split_controls(10, 4)[1]
    assert "rank 4" in group.note
    assert "3 steps of 2" in group.note
    assert "3 of 5 training controls" in group.note
    assert len({m.name for m in group.models}) == 2
    _check_opened(group, suspect, vae)
    for other in (
        (replace(suspect, strength=1.0), vae, 64, ours),
        (suspect, vae, 128, ours),
        (suspect, vae, 64, ours.select(range(9))),
    ):
        with pytest.raises(InputError, match="MIXED_EVIDENCE"):
            made.group(*other)
    bars = _bars(monkeypatch)
    again = counterfactuals(suspect, vae, controls)
    assert bars == []
    assert [m.name for m in again.trained.models] == [m.name for m in group.models]
    other = counterfactuals(suspect, vae, controls, seed=5)
    assert {m.name for m in other.trained.models}.isdisjoint(m.name for m in group.models)
    few = photos_from([controls.pixels[0][:7].movedim(1, -1)])
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_CONTROLS"):
        counterfactuals(suspect, vae, few)


def _check_opened(group, suspect, vae):
    """A null answers as the base with its own change: near the base, and each its own."""
    from lora_forensics.nodes._pair import HostRows

    x, outs = noise_of(1, (2, 4, 8, 8)), []
    for null in group.models:
        with torch.inference_mode(), null.open() as pair:
            entry = pair.condition(["a face"], [0.0]).entries[0]
            rows = HostRows((entry,) * 2, torch.tensor([0.0, 1.0]), torch.device("cpu"))
            outs.append(pair(x[[0, 0]], pair.sigmas[[500, 500]].float(), rows))
            assert pair.hashes.base == suspect.hashes.base
    assert torch.equal(outs[0][0], outs[1][0])
    assert not torch.equal(outs[0][0], outs[0][1])
    assert not torch.equal(outs[0][1], outs[1][1])


def test_bad_input_is_named(comfy, sd15, native_folder, photos, controls, suspect, tmp_path):
    from lora_forensics.nodes import _retraining, _training

    model, _, vae = sd15
    path = tmp_path / "a.safetensors"
    cases = {
        "BAD_NAME": lambda: _retraining.lora_file("../a"),
        "CAPTION_COUNT": lambda: _retraining.photo_captions("one\ntwo", photos, "a"),
        "MINOR_SUSPECTED": lambda: _retraining.photo_captions("a 12 year old", photos, "a"),
        "NO_CLIP": lambda: train(model, None, vae, photos, path),
        "NOT_A_LORA": lambda: train(model, Clip(), vae, photos, path, replace(SPEC, method="full")),
        "NO_RECIPE": lambda: counterfactuals(replace(suspect, inspection=None), vae, controls),
    }
    for code, call in cases.items():
        with pytest.raises(ForensicsError) as error:
            call()
        assert error.value.code == code
    assert not path.exists()
    assert _retraining.photo_captions("", photos, "a") == ["", "", ""]
    assert _retraining.photo_captions("one\n", photos, "a") == ["one"] * 3
    assert _retraining.photo_captions("x\ny\nz", photos, "a") == ["x", "y", "z"]
    with pytest.raises(InputError, match="UNSUPPORTED_MODEL"):
        _training._check_readable(model, {}, {})
    edm = {"edm_mean": torch.zeros(4), "edm_std": torch.ones(4)}
    with pytest.raises(InputError, match="EDM"):
        train(tiny(comfy, "SDXL", SDXL_CONFIG, **edm), Clip(), vae, photos, path)


def _forget_work():
    import shutil

    from lora_forensics.nodes._host import output_folder

    shutil.rmtree(output_folder("work"), ignore_errors=True)


def _bars(monkeypatch):
    from lora_forensics.nodes._host import HostProgress

    started, real = [], HostProgress.start

    def start(self, task, total, done=0):
        started.append((task, total, done))
        real(self, task, total, done)

    monkeypatch.setattr(HostProgress, "start", start)
    return started


FORM = {
    "layers": "attention", "rank": 2, "alpha": 0.0, "steps": 3, "batch": 2, "learning_rate": 1e-2,
    "warmup": 0, "decay": "constant", "flip": 0.5, "caption_dropout": 0.0,
    "save_every": 200, "seed": 0,
}  # fmt: skip


def test_from_training_to_white_box_with_a_real_text_encoder(
    comfy, light_checkpoint, photos, controls
):
    from lora_forensics.nodes.extension import register_folders
    from lora_forensics.nodes.loaders import LoadSuspect
    from lora_forensics.nodes.membership import WhiteBox
    from lora_forensics.nodes.training import TrainCounterfactuals, TrainLora

    register_folders()
    with torch.inference_mode():
        model, clip, vae = comfy.checkpoint(light_checkpoint)
        name, plot, summary = TrainLora.execute(
            model, clip, vae, photos, "a face", 64, "set/one", **FORM
        ).args
        assert name in comfy.folder_paths.get_filename_list("loras")
        assert plot.shape == (1, 360, 760, 3)
        assert "3 photos, 1 captions, 3 steps of 2, 8 layers of rank 2" in summary
        suspect = LoadSuspect.execute(model, name, 1.0, clip).args[0]
        nulls, words = TrainCounterfactuals.execute(suspect, vae, controls, "", 2, 0, 64).args
        assert "rank 2, attention layers, 3 steps of 2, rate 0.01" in words
        assert "'a face'" in words
        found = WhiteBox.execute(
            suspect, vae, photos, controls, "", 64, counterfactuals=nulls, timesteps="300, 600",
            noises=1, nulls=0, permutations=100, batch=8, seed=0, signals="grid", null_noises=1,
        ).args[0].found  # fmt: skip
    ranks = {rank.kind: rank for rank in found.null_ranks}
    assert len(ranks["counterfactual"].nulls) == 2
    assert all(map(bool, ranks["counterfactual"].nulls))


@pytest.mark.parametrize("name", ["", "../a", "a/b/c", "a/", "/a", "a/..", "a b"])
def test_names_stay_in_their_folder(comfy, name):
    from lora_forensics.nodes.training import TrainLora

    assert "BAD_NAME" in TrainLora.validate_inputs(name)
    assert TrainLora.validate_inputs("set/one") is True


def training_prompt(name):
    """Sixty steps on a folder of photos: long enough to be interrupted."""
    values = {**FORM, "steps": 60, "save_every": 5, "rank": 1}
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=SD15),
        "2": node("LoraForensicsPhotoFolder", folder="photos"),
        "3": node(
            "LoraForensicsTrainLora", model=["1", 0], clip=["1", 1], vae=["1", 2],
            photos=["2", 0], caption="a face", resolution=64, name=name, **values,
        ),
    }  # fmt: skip


def test_a_server_trains_is_interrupted_resumes_and_draws_as_before(server):
    plain = text_to_image(SD15, seed=5)
    first = server.run(plain)
    before = server.view(first.files("8")[0])
    output = server.base / "output" / "lora_forensics"
    prompt = training_prompt("server")
    prompt_id = server.post(prompt)
    deadline = time.monotonic() + 240
    while not list((output / "work").rglob("state-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    server.interrupt(prompt_id)
    assert server.wait(prompt_id).status == "interrupted"
    assert not (output / "loras" / "server.safetensors").exists()
    history = server.run(prompt)
    assert history.status == "success", history.error
    done = [v for n, v, total in history.progress if n == "3" and total == 60]
    assert done[0] >= 5
    assert done[-1] == 60
    assert "60 steps" in history.outputs["3"]["text"][0]
    (loaders,) = server.object_info("LoraLoader").values()
    assert "server.safetensors" in loaders["input"]["required"]["lora_name"][0]
    back = server.run(plain)
    assert "6" in back.executed
    assert server.view(back.files("8")[0]) == before
