"""Training is the plain loop of torch and diffusers, resumes exactly, leaves the base alone."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from interruptions import Interrupt
from lora_forensics.core.backends.diffusers import DiffusersPair
from lora_forensics.core.backends.loading import pair_of
from lora_forensics.core.errors import InputError, NotEnoughDataError, RunError
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.specs import FINETUNE_PRESETS, FinetuneSpec
from lora_forensics.core.storage import Work, open_case
from lora_forensics.core.training import finetune as finetune_module
from lora_forensics.core.training.finetune import finetune, save_checkpoint
from lora_forensics.core.training.learner import draw
from lora_forensics.core.training.optimizer import Optimizer, rate_at
from lora_forensics.core.training.trained import record_of, save_lora, save_losses
from lora_forensics.core.training.trainee import trainee_of
from lora_forensics.core.training.views import Views, fitted
from trainings import CAPTIONS, assert_resumes_exactly, images

QUICK = FinetuneSpec(steps=3, batch=2, rank=2, learning_rate=1e-2)
FULL = replace(QUICK, method="full", learning_rate=1e-3)


@pytest.fixture(scope="module", params=tiny_models.FAMILIES, ids=lambda p: p[0])
def base(request):
    return tiny_models.networks(*request.param)


@pytest.fixture(scope="module")
def sd1():
    return tiny_models.networks()


def plain_loop(networks, photos, captions, spec):
    """The training script: diffusers' schedule, torch's AdamW, no code of ours but the draws."""
    unet, vae = copy.deepcopy(networks.unet).train().requires_grad_(True), networks.vae
    schedule = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=networks.prediction,
    )
    pair = DiffusersPair(networks, tuned_sha256="")
    optimizer = torch.optim.AdamW(
        unet.parameters(), spec.learning_rate, weight_decay=spec.weight_decay
    )
    rates = get_scheduler(
        spec.decay, optimizer, num_warmup_steps=spec.warmup, num_training_steps=spec.steps
    )
    losses = []
    for step in range(spec.steps):
        d = draw(spec, len(photos), step, levels=1000, shape=pair.latent_shape)
        with torch.no_grad():
            out = vae.encode(torch.stack([photos[i] for i in d.index]) * 2 - 1).latent_dist
            clean = (out.mean + out.std * d.posterior) * vae.config.scaling_factor
        cond = pair.condition([captions[i] for i in d.index], [0.0] * spec.batch)
        noisy = schedule.add_noise(clean, d.noise, d.timesteps)
        more = tiny_models.told(networks.family.name, cond.pooled)
        made = unet(noisy, d.timesteps, cond.embeds, **more).sample
        velocity = networks.prediction == "v_prediction"
        target = schedule.get_velocity(clean, d.noise, d.timesteps) if velocity else d.noise
        loss = F.mse_loss(made, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), spec.clip)
        optimizer.step()
        rates.step()
        losses.append(loss.item())
    return unet.state_dict(), losses


def test_full_training_is_the_plain_loop(base):
    spec = replace(FULL, flip=0.0, warmup=1, decay="cosine", weight_decay=0.5, clip=0.2)
    expected, losses = plain_loop(base, images(), CAPTIONS, spec)
    trained = finetune(base, images(), CAPTIONS, spec)
    assert trained.losses == pytest.approx(losses, rel=1e-5)
    assert trained.weights.keys() == expected.keys()
    start = base.unet.state_dict()
    moved = torch.cat([(expected[k] - start[k]).flatten() for k in expected])
    apart = torch.cat([(expected[k] - trained.weights[k]).flatten() for k in expected])
    assert float(moved.abs().median()) > 1e-4
    # AdamW gives biases before a norm, whose gradients are rounding noise, full steps of noise.
    assert float(apart.norm() / moved.norm()) < 2e-3
    assert float((apart.abs() > 1e-5).double().mean()) < 2e-3


@pytest.mark.parametrize("decay", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_rates_are_those_of_get_scheduler(decay, warmup):
    spec = FinetuneSpec(steps=11, warmup=warmup, decay=decay, learning_rate=0.5)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.5)
    name = "constant_with_warmup" if decay == "constant" else decay
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=11)
    for step in range(11):
        assert rate_at(spec, step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def prediction(unet, family):
    x, text = noise_of(7, (2, 4, 8, 8)), noise_of(8, (2, 77, 64 if family == "sdxl" else 32))
    with torch.no_grad():
        more = tiny_models.told(family, noise_of(9, (2, 32)))
        return unet(x, torch.tensor([100, 700]), text, **more).sample


def trained_unet(networks, trained):
    """The peft UNet as it was when training ended."""
    trainee = trainee_of(networks, trained.training.spec)
    with torch.no_grad():
        for name, weight in trainee.weights.items():
            weight.copy_(trained.weights[name])
    return trainee.unet


def test_a_lora_is_what_diffusers_loads(base, tmp_path):
    trained = finetune(base, images(), CAPTIONS, replace(QUICK, alpha=1.0))
    expected = prediction(trained_unet(base, trained), base.family.name)
    for layout in ("kohya", "diffusers"):
        path = save_lora(trained, tmp_path / f"{layout}.safetensors", layout=layout)
        pipe = tiny_models.tiny_pipeline(base.family.name, base.prediction)
        plain = prediction(pipe.unet, base.family.name)
        assert float((plain - expected).norm() / plain.norm()) > 1e-3
        pipe.load_lora_weights(str(tmp_path), weight_name=path.name)
        loaded = prediction(pipe.unet, base.family.name)
        assert float((loaded - expected).norm() / expected.norm()) < 1e-4


def denoised(pair):
    x, sigma = noise_of(3, (2, 4, 8, 8)), torch.tensor([1.0, 3.0])
    with torch.no_grad():
        return pair(x, sigma, pair.condition(["a face"] * 2, [1.0, 1.0]))


def test_a_lora_is_what_our_pair_loads(base, tmp_path):
    trained = finetune(base, images(), CAPTIONS, QUICK)
    unet = trained_unet(base, trained)
    expected = denoised(DiffusersPair(replace(base, unet=unet), tuned_sha256=""))
    for layout in ("kohya", "diffusers"):
        pair = pair_of(base, save_lora(trained, tmp_path / f"{layout}.safetensors", layout=layout))
        made = denoised(pair)
        pair.close()
        assert float((made - expected).norm() / expected.norm()) < 1e-4
        matched = {c.component: c.matched for c in pair.binding.coverage}
        assert matched["unet"] == len(trained.weights) // 2


def test_a_checkpoint_is_what_our_pair_loads(base, tmp_path):
    trained = finetune(base, images(), CAPTIONS, FULL)
    pair = pair_of(base, save_checkpoint(trained, base, tmp_path / "full"))
    unet = copy.deepcopy(base.unet)
    unet.load_state_dict(trained.weights)
    expected = denoised(DiffusersPair(replace(base, unet=unet), tuned_sha256=""))
    torch.testing.assert_close(denoised(pair), expected)
    assert pair.output_change > 1e-4


def test_metadata_says_how_it_was_trained(sd1, tmp_path):
    from lora_forensics.core.lora.formats import read_lora
    from lora_forensics.core.lora.inspection import inspect_lora

    trained = finetune(sd1, images(), CAPTIONS, replace(QUICK, accumulation=2, alpha=1.0))
    read = read_lora(save_lora(trained, tmp_path / "kay.safetensors"))
    found = inspect_lora(read)
    claims = found.claims
    assert (claims.steps, claims.batch, claims.images) == (3, 4, 3)
    assert {p.text: p.count for p in claims.prompts if p.source == "caption"} == {
        "a face": 2,
        "another face": 1,
    }
    assert claims.text["base_sha256"] == sd1.sha256
    assert read.metadata["ss_network_alpha"] == "1.0"
    assert read.metadata["ss_base_model_version"] == "sd_v1"
    assert set(found.ranks) == {"2"}
    stated = {f.subject: f.severity for f in found.findings}
    assert stated["sshs_model_hash"] == stated["sshs_legacy_hash"] == 0
    assert not [f for f in found.findings if f.severity == 2]


@pytest.mark.parametrize("spec", [QUICK, FULL], ids=["lora", "full"])
def test_resumed_training_is_exact(sd1, tmp_path, spec):
    spec = replace(spec, steps=7, save_every=2, caption_dropout=0.3, accumulation=2)
    train = partial(finetune, sd1, images(), CAPTIONS, spec)
    assert_resumes_exactly(train, tmp_path / "case")


def test_a_finished_run_is_read_and_another_is_not_mixed_in(sd1, tmp_path):
    case = open_case(tmp_path, {})
    first = finetune(sd1, images(), CAPTIONS, QUICK, work=Work(case))
    again = finetune(sd1, images(), CAPTIONS, QUICK, work=Work(case, Interrupt(0)))
    assert again.losses == first.losses
    assert (again.started, again.finished) == (first.started, first.finished)
    with pytest.raises(KeyboardInterrupt):
        finetune(sd1, images(), CAPTIONS[::-1], QUICK, work=Work(case, Interrupt(0)))
    case.close()


def state_of(networks):
    parts = {**networks.components(), "vae": networks.vae}
    return {
        (part, name): (id(p), p.requires_grad, p.grad, p.detach().clone())
        for part, net in parts.items()
        for name, p in net.named_parameters()
    }, [(id(m), len(m._forward_hooks), m.training) for n in parts.values() for m in n.modules()]


@pytest.mark.parametrize("spec", [QUICK, FULL], ids=["lora", "full"])
@pytest.mark.parametrize("ends", ["well", "interrupted", "diverged"])
def test_the_base_stays_as_it_was(sd1, spec, ends, monkeypatch):
    before, modules = state_of(sd1)
    if ends == "well":
        finetune(sd1, images(), CAPTIONS, spec)
    elif ends == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            finetune(sd1, images(), CAPTIONS, spec, work=Work(progress=Interrupt(1)))
    else:
        error = diverged(sd1, spec, monkeypatch)
        assert error.code == "DIVERGED"
    after, modules_after = state_of(sd1)
    assert modules == modules_after
    for key, (place, grad, gradient, value) in before.items():
        assert after[key][:3] == (place, grad, gradient)
        assert torch.equal(after[key][3], value)


def diverged(sd1, spec, monkeypatch):
    """The error of a training whose second step overflows."""
    real = finetune_module.noised_target

    def overflowing(pair, clean, noise, timesteps):
        noisy, target = real(pair, clean, noise, timesteps)
        return noisy, target / 0 if calls.pop() else target

    calls = [True, False]
    monkeypatch.setattr(finetune_module, "noised_target", overflowing)
    with pytest.raises(RunError) as error:
        finetune(sd1, images(), CAPTIONS, spec)
    assert not calls
    return error.value


def test_an_open_pair_on_the_same_base_does_not_disturb(sd1, tmp_path):
    alone = finetune(sd1, images(), CAPTIONS, QUICK)
    pair = pair_of(sd1, tiny_models.save_lora(tmp_path / "other.safetensors"))
    beside = finetune(sd1, images(), CAPTIONS, QUICK)
    pair.close()
    assert all(torch.equal(beside.weights[k], v) for k, v in alone.weights.items())


HALVES = [(torch.bfloat16, "bf16", FULL), (torch.float16, "fp16", QUICK)]


@pytest.mark.parametrize(("dtype", "name", "spec"), HALVES, ids=["bf16-full", "fp16-lora"])
def test_half_precision_trains_float32_weights(sd1, dtype, name, spec):
    networks = tiny_models.networks().to(torch.device("cpu"), dtype)
    trained = finetune(networks, images(), CAPTIONS, spec)
    assert {v.dtype for v in trained.weights.values()} == {torch.float32}
    assert record_of(trained, "x").precision == name
    whole = finetune(sd1, images(), CAPTIONS, spec)
    assert trained.losses == pytest.approx(whole.losses, rel=0.05)
    assert next(networks.unet.parameters()).dtype == dtype


def test_half_optimizer_state_keeps_the_loss_scale():
    weight = torch.nn.Parameter(torch.ones(3))
    first = Optimizer({"w": weight}, QUICK, torch.float16)
    first.backward((weight * float("inf")).sum())
    first.step(0)
    assert torch.equal(weight, torch.ones(3))
    second = Optimizer({"w": torch.nn.Parameter(torch.zeros(3))}, QUICK, torch.float16)
    second.load(first.state())
    assert second.state()["scaler"][0] == 2**15


def test_draws_take_each_image_once_an_epoch():
    spec = FinetuneSpec(batch=4, seed=3)
    index = torch.cat([draw(spec, 6, n, levels=10, shape=(1, 2, 2)).index for n in range(3)])
    assert sorted(index[:6].tolist()) == sorted(index[6:].tolist()) == list(range(6))
    assert index[:6].tolist() != index[6:].tolist()
    one, two = (draw(spec, 6, 1, levels=10, shape=(1, 2, 2)) for _ in range(2))
    assert torch.equal(one.noise, two.noise)
    other = draw(replace(spec, seed=4), 6, 1, levels=10, shape=(1, 2, 2))
    assert not torch.equal(one.noise, other.noise)


def test_views_are_mirrored_cropped_and_kept(sd1, monkeypatch):
    wide = noise_of(0, (3, 16, 24)).sigmoid()
    zero, calls = torch.zeros(4, 8, 8), []
    encode = sd1.vae.encode
    monkeypatch.setattr(sd1.vae, "encode", lambda x: calls.append(x) or encode(x))
    left, right = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.999])
    views = Views([wide, wide[:, :, :16]], 16, "random", sd1.vae)
    for corner, mirrored in ((left, False), (right, False), (left, True)):
        views.latent(0, zero, mirrored=mirrored, corner=corner)
    assert torch.equal(calls[0][0], wide[:, :, :16] * 2 - 1)
    assert torch.equal(calls[1][0], wide[:, :, 8:] * 2 - 1)
    assert torch.equal(calls[2][0], (wide[:, :, :16] * 2 - 1).flip(-1))
    for _ in range(3):
        views.latent(1, zero, mirrored=False, corner=left)
    assert len(calls) == 4
    centred = Views([wide], 16, "center", sd1.vae)
    centred.latent(0, zero, mirrored=False, corner=left)
    assert torch.equal(calls[4][0], wide[:, :, 4:20] * 2 - 1)


def test_images_come_to_the_native_size():
    assert fitted(torch.rand(3, 40, 20), 16).shape == (3, 32, 16)
    assert fitted(torch.rand(3, 8, 10), 16).shape == (3, 16, 20)
    square = torch.rand(3, 16, 16)
    assert fitted(square, 16) is square


def test_dropout_and_flip_shares(sd1, monkeypatch):
    spec = replace(QUICK, steps=1, batch=16, caption_dropout=1.0, flip=1.0)
    seen = []
    monkeypatch.setattr(
        Views, "latent", lambda self, i, noise, *, mirrored, corner: seen.append(mirrored) or noise
    )
    dropped = finetune(sd1, images(), CAPTIONS, spec)
    assert seen == [True] * 16
    empty = finetune(sd1, images(), [""] * 3, replace(spec, caption_dropout=0.0))
    assert dropped.losses == empty.losses
    assert (
        dropped.losses
        != finetune(sd1, images(), CAPTIONS, replace(spec, caption_dropout=0.0)).losses
    )


def test_bad_input_is_named(sd1, tmp_path):
    cases = {
        "NO_PHOTOS": ([], [], QUICK),
        "CAPTION_COUNT": (images(), CAPTIONS[:2], QUICK),
        "BAD_SHAPE": ([torch.rand(1, 16, 16)], ["a"], QUICK),
        "BAD_PIXELS": ([torch.rand(3, 16, 16) * 255], ["a"], QUICK),
    }
    for code, (photos, captions, spec) in cases.items():
        with pytest.raises((InputError, NotEnoughDataError)) as error:
            finetune(sd1, photos, captions, spec)
        assert error.value.code == code
    with pytest.raises(InputError) as error:
        finetune(replace(sd1, unet=_no_attention()), images(1), ["a"], QUICK)
    assert error.value.code == "NO_LAYERS"


def _no_attention():
    unet = tiny_models.tiny_unet()
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1))
    network.config = unet.config
    network.dtype = torch.float32
    return network


def test_results_are_saved_by_their_method(sd1, tmp_path):
    lora, full = (finetune(sd1, images(), CAPTIONS, s) for s in (QUICK, FULL))
    wrong = {
        "NOT_A_LORA": lambda: save_lora(full, tmp_path / "x.safetensors"),
        "NOT_A_CHECKPOINT": lambda: save_checkpoint(lora, sd1, tmp_path),
        "BAD_SETTING": lambda: save_lora(lora, tmp_path / "x.safetensors", layout="a1111"),
        "WRONG_BASE": lambda: save_checkpoint(full, replace(sd1, sha256="0"), tmp_path),
    }
    for code, call in wrong.items():
        with pytest.raises(InputError) as error:
            call()
        assert error.value.code == code
    log = save_losses(lora, tmp_path / "loss.csv").read_text().splitlines()
    assert log[0] == "step,learning_rate,loss"
    assert float(log[2].split(",")[2]) == pytest.approx(lora.losses[1], rel=1e-6)


def test_the_papers_preset():
    spec = FINETUNE_PRESETS["paper"]
    assert (spec.method, spec.steps, spec.batch, spec.warmup) == ("full", 400 * 224, 5, 2000)
    assert (spec.learning_rate, spec.decay, spec.weight_decay, spec.clip) == (
        1e-5,
        "linear",
        0.01,
        1,
    )
