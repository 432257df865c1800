from dataclasses import replace

import pytest
import torch
from lora_forensics.core import attack
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.specs import AttackSpec
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, resnet18

SPEC = AttackSpec(images=24, epochs=3, minibatch=8, learning_rate=1e-3, side=32)


def tinted(n, red, seed):
    x = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 0.3 + 0.3
    x[:, 0] += red
    return x.clamp(0, 1)


def test_separates_what_can_be_separated():
    queries = torch.cat([tinted(8, 0.3, 3), tinted(8, 0.0, 4)])
    result = attack.train_and_score(tinted(24, 0.3, 1), tinted(24, 0.0, 2), queries, SPEC, 0)
    assert result.logits[:8].min() > result.logits[8:].max()
    assert result.heldout_accuracy == 1.0


def test_same_seed_same_logits_and_global_state_untouched():
    args = (tinted(8, 0.3, 1), tinted(8, 0.0, 2), tinted(4, 0.1, 3), SPEC)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = attack.train_and_score(*args, 1).logits
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(attack.train_and_score(*args, 1).logits, first)
    assert not torch.equal(attack.train_and_score(*args, 2).logits, first)


def test_training_and_scoring_apart_equal_both_at_once():
    arms, queries, calls = (tinted(9, 0.3, 1), tinted(8, 0.0, 2)), tinted(4, 0.1, 3), []
    both = attack.train_and_score(*arms, queries, SPEC, 3)
    apart = attack.train_classifier(*arms, SPEC, 3, on_epoch=lambda: calls.append(1))
    assert torch.equal(attack.score_images(apart, queries), both.logits)
    assert apart.heldout_accuracy == both.heldout_accuracy
    assert (apart.side, apart.seed, len(calls)) == (32, 3, SPEC.epochs)
    with torch.inference_mode():  # as in a host
        hosted = attack.train_classifier(*arms, SPEC, 3)
    assert torch.equal(attack.score_images(hosted, queries), both.logits)


def test_native_side_is_that_of_the_queries_when_they_are_known():
    arms, spec = (tinted(8, 0.3, 1), tinted(8, 0.0, 2)), replace(SPEC, side=0, epochs=1)
    small = torch.nn.functional.interpolate(tinted(4, 0.1, 3), (24, 24))
    given = attack.train_and_score(*arms, small, replace(spec, side=24), 0)
    assert torch.equal(attack.train_and_score(*arms, small, spec, 0).logits, given.logits)
    assert attack.train_classifier(*arms, spec, 0).side == 32


def test_training_is_recorded():
    result = attack.train_classifier(tinted(24, 0.3, 1), tinted(24, 0.0, 2), SPEC, 0)
    assert len(result.losses) == SPEC.epochs
    assert 0 < result.losses[-1] < result.losses[0] < 3
    assert (result.heldout_logits.dtype, len(result.heldout_logits)) == (torch.float64, 7)
    right = (result.heldout_logits > 0) == result.heldout_labels.bool()
    assert result.heldout_accuracy == pytest.approx(float(right.float().mean()))
    tuned, negative = result.heldout_scores()
    assert len(tuned) == int(result.heldout_labels.sum())
    assert sorted(tuned + negative) == sorted(result.heldout_logits.tolist())


def test_network_is_torchvisions_resnet18_with_two_outputs(tmp_path):
    reference = resnet18(weights=None)
    save_file(reference.state_dict(), tmp_path / "r18.safetensors")
    model = attack.build_classifier(tmp_path / "r18.safetensors").eval()
    reference.fc, head = torch.nn.Identity(), model.fc
    model.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(x), reference.eval()(x))
    assert (head.in_features, head.out_features) == (512, 2)


def test_normalisation_equals_torchvisions_preset():
    x = torch.rand(2, 3, 224, 224)
    preset = ResNet18_Weights.IMAGENET1K_V1.transforms(resize_size=224)
    assert torch.allclose(attack.prepare(x, 224), preset(x), atol=1e-6)


def test_wrong_weights_and_too_few_images_are_named(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="WRONG_WEIGHTS"):
        attack.build_classifier(tmp_path / "x.safetensors")
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_GENERATED"):
        attack.train_and_score(tinted(2, 0, 1), tinted(9, 0, 2), tinted(2, 0, 3), SPEC, 0)


def test_augmentation_moves_pixels_but_invents_none():
    x = tinted(6, 0.1, 1)
    out = attack.augment(x, torch.Generator().manual_seed(0))
    assert out.shape == x.shape
    for before, after in zip(x, out, strict=True):
        assert torch.isin(after, before).all()
