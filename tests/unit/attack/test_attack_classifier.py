from dataclasses import replace

import pytest
import torch
from lora_forensics.core.attack import classifier as attack
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.specs import AttackSpec
from safetensors.torch import save_file

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
    assert len(result.curve) == SPEC.epochs


def test_same_seed_same_logits_and_global_state_untouched():
    spec = replace(SPEC, epochs=1)
    args = (tinted(4, 0.3, 1), tinted(4, 0.0, 2), tinted(4, 0.1, 3), spec)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = attack.train_and_score(*args, 1).logits
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(attack.train_and_score(*args, 1).logits, first)
    assert not torch.equal(attack.train_and_score(*args, 2).logits, first)


def test_training_and_scoring_apart_equal_both_at_once():
    arms, queries, calls = (tinted(5, 0.3, 1), tinted(4, 0.0, 2)), tinted(4, 0.1, 3), []
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
    result = attack.train_classifier(tinted(16, 0.3, 1), tinted(16, 0.0, 2), SPEC, 0)
    assert len(result.losses) == SPEC.epochs
    assert 0 < result.losses[-1] < result.losses[0] < 3
    assert (result.heldout_logits.dtype, len(result.heldout_logits)) == (torch.float64, 4)
    right = (result.heldout_logits > 0) == result.heldout_labels.bool()
    assert result.heldout_accuracy == pytest.approx(float(right.float().mean()))
    tuned, negative = result.heldout_scores()
    assert len(tuned) == int(result.heldout_labels.sum())
    assert sorted(tuned + negative) == sorted(result.heldout_logits.tolist())


def test_wrong_weights_and_too_few_images_are_named(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="WRONG_WEIGHTS"):
        attack.build_classifier(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="WRONG_WEIGHTS"):
        attack.check_weights(tmp_path / "x.safetensors")
    for read in (attack.build_classifier, attack.check_weights):
        with pytest.raises(InputError, match="MISSING_FILE"):
            read(tmp_path / "none.safetensors")
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_GENERATED"):
        attack.train_and_score(tinted(2, 0, 1), tinted(9, 0, 2), tinted(2, 0, 3), SPEC, 0)


@pytest.mark.parametrize("old", [False, True])
def test_weights_that_fit_pass_both_checks(tmp_path, old):
    from torchvision.models import resnet18

    state = resnet18(weights=None).state_dict()
    kept = {k: v for k, v in state.items() if not (old and k.endswith("num_batches_tracked"))}
    save_file(kept, tmp_path / "x.safetensors")
    attack.check_weights(tmp_path / "x.safetensors")
    model = attack.build_classifier(tmp_path / "x.safetensors")
    assert torch.equal(model.state_dict()["conv1.weight"], state["conv1.weight"])


@pytest.mark.parametrize(
    ("curve", "place"),
    [
        ([(0.5, 1.0), (0.4, 1.0), (0.4, 1.0)], 1),  # ties go to the earliest
        ([(0.5, 1.0), (float("nan"), 0.5), (0.6, 1.0)], 0),
        ([(float("nan"), 0.5), (0.6, 1.0)], 1),
    ],
)
def test_the_first_lowest_loss_is_chosen(curve, place):
    assert attack._first_lowest(curve) == place


def test_the_best_epoch_on_held_out_images_is_kept(monkeypatch):
    arms, kept = (tinted(4, 0.3, 1), tinted(4, 0.0, 2)), []
    told = iter([0.5, 0.3, 0.3, 0.4])

    def apart(model, data):
        kept.append({k: v.clone() for k, v in model.state_dict().items()})
        return next(told), 1.0

    monkeypatch.setattr(attack, "_apart", apart)
    best = attack.train_classifier(*arms, replace(SPEC, epochs=4), 0)
    assert (best.epoch, [loss for loss, _ in best.curve]) == (2, [0.5, 0.3, 0.3, 0.4])
    assert all(torch.equal(v, kept[1][k]) for k, v in best.module.state_dict().items())
    told = iter([0.5, 0.3, 0.3, 0.4])
    last = attack.train_classifier(*arms, replace(SPEC, epochs=4, selection="last"), 0)
    assert last.epoch == 4
    assert all(torch.equal(v, kept[-1][k]) for k, v in last.module.state_dict().items())


def test_selection_sees_generated_images_alone():
    arms, watched = (tinted(4, 0.3, 1), tinted(4, 0.0, 2)), (tinted(3, 0, 3), torch.ones(3))
    spec = replace(SPEC, epochs=1)
    alone = attack.train_classifier(*arms, spec, 0)
    seen = attack.train_classifier(*arms, spec, 0, watched=watched)
    assert seen.curve == alone.curve
    with pytest.raises(InputError, match=r"BAD_SETTING.*holdout"):
        replace(SPEC, holdout=0.0)


def test_without_held_out_images_the_watched_ones_draw_a_curve_and_change_nothing():
    spec = replace(SPEC, holdout=0.0, selection="last", epochs=2)
    arms, watched = (tinted(4, 0.3, 1), tinted(4, 0.0, 2)), tinted(6, 0.3, 3)
    plain = attack.train_classifier(*arms, spec, 0)
    seen = attack.train_classifier(*arms, spec, 0, watched=(watched, torch.ones(6)))
    assert torch.isnan(torch.tensor(plain.heldout_accuracy))
    assert (plain.curve, len(plain.heldout_labels)) == ((), 0)
    assert torch.equal(attack.score_images(seen, watched), attack.score_images(plain, watched))
    logits = attack.score_images(seen, watched)
    loss = torch.nn.functional.softplus(-logits).mean()
    assert seen.curve[-1] == pytest.approx((float(loss), float((logits > 0).double().mean())))


def test_a_last_image_alone_is_trained_on_where_batch_norm_can():
    arms = (tinted(5, 0.3, 1), tinted(4, 0.0, 2))
    plain = {"holdout": 0.0, "selection": "last", "augment": "none", "epochs": 1}
    for side, changed in ((32, False), (64, True)):
        spec = replace(SPEC, side=side, minibatch=8, **plain)
        steps = []
        original = attack._step
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attack, "_step", lambda *a, o=original, s=steps: s.append(1) or o(*a))
            attack.train_classifier(*arms, spec, 0)
        assert (len(steps) == 2) is changed


def test_half_precision_learns_the_same_and_is_kept_in_float32():
    queries = torch.cat([tinted(4, 0.3, 3), tinted(4, 0.0, 4)])
    arms = (tinted(16, 0.3, 1), tinted(16, 0.0, 2))
    half = attack.train_classifier(*arms, replace(SPEC, precision="bfloat16"), 0)
    logits = attack.score_images(half, queries)
    assert logits[:4].mean() > logits[4:].mean()
    assert {v.dtype for v in half.module.parameters()} == {torch.float32}
    assert half.module.conv1.weight.is_contiguous()
