"""Training through a pair is the UNet's training: same losses, same weights, nothing left."""

import copy
from dataclasses import replace

import pytest
import tiny_models
import torch
from lora_forensics.core.backends.diffusers import DiffusersPair
from lora_forensics.core.backends.families import UNET_LAYERS
from lora_forensics.core.backends.loading import pair_of
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.protocols import NoProgress
from lora_forensics.core.sampling.plans import noise_of, noised
from lora_forensics.core.specs import FinetuneSpec
from lora_forensics.core.storage import open_case
from lora_forensics.core.training.finetune import finetune
from lora_forensics.core.training.learner_factors import Factors, layers_named
from lora_forensics.core.training.learner_pair import PairLearner, PairModel, finetune_pair
from lora_forensics.core.training.trained import save_lora
from lora_forensics.core.training.trainee import trainee_of
from lora_forensics.core.training.views import Views
from lora_forensics.core.types import Conditioning, ModelHashes
from torch import nn

CAPTIONS = ["a face", "a face", "another face"]
QUICK = FinetuneSpec(steps=4, batch=2, rank=2, learning_rate=1e-2, caption_dropout=0.3)


def images(n=3, side=16):
    return [noise_of(i, (3, side, side)).sigmoid() for i in range(n)]


def model_of(networks, start=None, names=()):
    """The pair of a diffusers base, its UNet's layers, and the factors to begin with."""
    pair = DiffusersPair(networks, tuned_sha256="")

    def factors(spec):
        made = Factors(layers_named(networks.unet, UNET_LAYERS[spec.layers]), spec)
        with torch.no_grad():
            for name, weight in (start or {}).items():
                made.weights[name].copy_(weight)
        return made

    return PairModel(pair, factors, pair.dtype, dict(names))


@pytest.fixture
def no_posterior(monkeypatch):
    real = Views._posterior

    def mean_only(self, pixels):
        mean, std = real(self, pixels)
        return mean, torch.zeros_like(std)

    monkeypatch.setattr(Views, "_posterior", mean_only)


@pytest.mark.parametrize("family", tiny_models.FAMILIES, ids=lambda p: p[0])
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_it_is_the_unets_training(family, layers, no_posterior):
    """Against peft's layers, diffusers' own prediction and its noising."""
    networks = tiny_models.networks(*family)
    spec = replace(QUICK, layers=layers, alpha=1.0, accumulation=2)
    start = {k: v.detach().clone() for k, v in trainee_of(networks, spec).weights.items()}
    wanted = finetune(networks, images(), CAPTIONS, spec)
    found = finetune_pair(model_of(networks, start), images(), CAPTIONS, spec)
    assert found.losses == pytest.approx(wanted.losses, rel=1e-4)
    assert found.weights.keys() == wanted.weights.keys()
    moved, apart = (
        torch.cat([(a[k] - b[k]).flatten() for k in start]).norm()
        for a, b in ((wanted.weights, start), (wanted.weights, found.weights))
    )
    assert moved > 0.1
    assert apart < 0.02 * moved
    assert found.training == wanted.training


class TinyPair:
    """A pair whose base is one convolution in the model's own units."""

    latent_shape, resolution, family, scalable = (3, 8, 8), 8, "tiny", True

    def __init__(self, prediction="epsilon", low=0.03, high=10.0):
        self.prediction = prediction
        self.sigmas = torch.linspace(low, min(high, 1.0) if prediction == "flow" else high, 100)
        self.hashes = ModelHashes("base", "tuned")
        self.network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)).requires_grad_(False)
        generator = torch.Generator().manual_seed(1)
        self.network[0].weight.copy_(torch.randn(3, 3, 3, 3, generator=generator) / 5)
        self.network[0].bias.zero_()

    def __call__(self, x, sigma, cond):
        s = sigma.view(-1, 1, 1, 1).float()
        if self.prediction == "flow":
            return x - s * self.network(x)
        root = (s * s + 1).sqrt()
        out = self.network(x / root)
        if self.prediction == "epsilon":
            return x - s * out
        return x / root**2 - out * s / root

    def condition(self, prompts, strengths):
        return Conditioning(torch.zeros(len(prompts), 1, 1), torch.tensor(list(strengths)))

    def encode(self, pixels):
        return pixels * 2 - 1

    def model(self):
        return PairModel(self, lambda s: Factors({"0": self.network[0]}, s), torch.float32, {})


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
def test_the_loss_is_in_the_models_own_units(prediction):
    pair = TinyPair(prediction)
    x0, eps = noise_of(1, (4, 3, 8, 8)), noise_of(2, (4, 3, 8, 8))
    steps = torch.tensor([0, 30, 60, 99])
    sigma = pair.sigmas[steps].view(-1, 1, 1, 1)
    x = noised(pair, x0, eps, pair.sigmas[steps])
    root = (sigma**2 + 1).sqrt()
    out = pair.network(x if prediction == "flow" else x / root)
    target = {
        "epsilon": eps,
        "v_prediction": eps / root - sigma / root * x0,
        "flow": eps - x0,
    }[prediction]
    with Factors({"0": pair.network[0]}, QUICK) as factors:
        learner = PairLearner(pair, factors, pair.condition([""], [0.0]))
        loss = learner.loss(x0, eps, steps, torch.zeros(4, dtype=torch.long))
    assert loss.item() == pytest.approx((out - target).square().mean().item(), rel=1e-4)
    assert loss.requires_grad


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
def test_the_loss_falls_and_the_base_stays(prediction):
    pair = TinyPair(prediction)
    before = copy.deepcopy(pair.network.state_dict())
    spec = FinetuneSpec(steps=150, batch=8, rank=3, learning_rate=2e-2, flip=0.0)
    found = finetune_pair(pair.model(), images(2, 8), ["", "a"], spec)
    assert sum(found.losses[-20:]) < 0.7 * sum(found.losses[:20])
    assert all(torch.equal(v, before[k]) for k, v in pair.network.state_dict().items())
    assert not pair.network[0]._forward_hooks
    assert pair.network[0].weight.grad is None


class Interrupt(NoProgress):
    def __init__(self, after):
        self.left, self.done = after, None

    def start(self, task, total, done=0):
        self.done = done

    def step(self, n=1):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_resumed_training_is_exact(tmp_path):
    spec = replace(QUICK, steps=7, save_every=2)
    whole = finetune_pair(TinyPair().model(), images(3, 8), CAPTIONS, spec)
    resumed_at = []
    for after in (3, 2, 100):
        case, bar, pair = open_case(tmp_path, {}), Interrupt(after), TinyPair()
        try:
            found = finetune_pair(pair.model(), images(3, 8), CAPTIONS, spec, case=case,
                                  progress=bar)  # fmt: skip
        except KeyboardInterrupt:
            assert not pair.network[0]._forward_hooks
        finally:
            case.close()
        resumed_at.append(bar.done)
    assert resumed_at == [0, 4, 6]
    assert found.losses == whole.losses
    assert all(torch.equal(found.weights[k], v) for k, v in whole.weights.items())


def test_the_file_is_what_was_trained(tmp_path):
    networks = tiny_models.networks()
    layers = layers_named(networks.unet, UNET_LAYERS["all"])
    names = {f"x{i}": name for i, name in enumerate(layers)}
    ours = dict(zip(names, layers.values(), strict=True))
    pair = DiffusersPair(networks, tuned_sha256="")
    placed = Factors(ours, replace(QUICK, alpha=1.0))
    model = PairModel(pair, lambda spec: placed, torch.float32, names)
    trained = finetune_pair(model, images(), CAPTIONS, replace(QUICK, alpha=1.0))
    x, sigma = noise_of(3, (2, 4, 8, 8)), torch.tensor([1.0, 3.0])
    cond = pair.condition(["a face"] * 2, [0.0, 0.0])
    with torch.no_grad():
        plain = pair(x, sigma, cond)
        with placed:
            wanted = pair(x, sigma, cond)
        loaded = pair_of(networks, save_lora(trained, tmp_path / "a.safetensors"))
        made = loaded(x, sigma, loaded.condition(["a face"] * 2, [1.0, 1.0]))
        loaded.close()
    assert (wanted - plain).norm() > 1e-3 * plain.norm()
    assert (made - wanted).norm() < 1e-5 * wanted.norm()


def test_half_layers_learn_float32_factors():
    layer = nn.Linear(4, 4).to(torch.bfloat16).requires_grad_(False)
    with Factors({"a": layer}, QUICK) as factors:
        factors.weights["a.lora_B.weight"].data.fill_(1.0)
        out = layer(torch.ones(1, 4, dtype=torch.bfloat16))
        out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert {w.grad.dtype for w in factors.weights.values()} == {torch.float32}


def test_starts_depend_on_seed_and_layer():
    layers = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}
    one, two = Factors(layers, QUICK).result(), Factors(layers, QUICK).result()
    other = Factors(layers, replace(QUICK, seed=1)).result()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["a.lora_A.weight"], one["b.lora_A.weight"])
    assert not torch.equal(one["a.lora_A.weight"], other["a.lora_A.weight"])
    assert not one["a.lora_B.weight"].any()


def test_bad_input_is_named():
    model = TinyPair().model()
    empty = replace(model, factors=lambda spec: Factors({}, spec))
    cases = {
        "NOT_A_LORA": (model, images(1, 8), ["a"], replace(QUICK, method="full")),
        "NO_PHOTOS": (model, [], [], QUICK),
        "CAPTION_COUNT": (model, images(2, 8), ["a"], QUICK),
        "BAD_PIXELS": (model, [torch.rand(3, 8, 8) * 255], ["a"], QUICK),
        "NO_LAYERS": (empty, images(1, 8), ["a"], QUICK),
    }
    for code, (given, photos, captions, spec) in cases.items():
        with pytest.raises((InputError, NotEnoughDataError)) as error:
            finetune_pair(given, photos, captions, spec)
        assert error.value.code == code
