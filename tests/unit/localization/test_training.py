"""Training: what is learnt, in which order, from which loss; resumable to the bit."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from interruptions import Interrupt
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.localization.foreign import own_names
from lora_forensics.core.localization.losses import loss_of
from lora_forensics.core.localization.networks import NetworkAnswer, PatchesNetwork, build
from lora_forensics.core.localization.settings import (
    METHOD_NAMES,
    SETUPS,
    LocalizerSpec,
    paper_spec,
)
from lora_forensics.core.localization.training import (
    LocalizerTrainee,
    Stream,
    recalibrate,
    train_localizer,
)
from lora_forensics.core.localization.views import cell_targets
from lora_forensics.core.storage import Work, open_case
from PIL import Image
from torch import nn
from torch.nn import functional as F
from toy_examples import toy_set

SPEC = LocalizerSpec(
    width=0.25, side=99, batch=8, iterations=12, epochs=2, degrade=0.0, recalibration=8
)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_set(tmp_path_factory.mktemp("toy") / "set")


def test_published_settings():
    patches = paper_spec("patches", "C")
    assert (patches.batch, patches.epochs, patches.iterations, patches.learning_rate) == (
        16, 50, 500, 1e-3,
    )  # fmt: skip
    assert (patches.flip, patches.degrade, patches.pooling, patches.recalibration) == (
        0, 0, "mean", 0,
    )  # fmt: skip
    weak = paper_spec("patches", "B")
    assert (weak.batch, weak.epochs, weak.start, weak.flip) == (64, 100, "xavier", 0.5)
    assert paper_spec("attention", "A").learning_rate == 1e-4
    assert paper_spec("attention", "C").learning_rate == 3e-4
    assert paper_spec("gradcam", "A").epochs == 100
    for name in METHOD_NAMES:
        for setup in "ABC":
            assert paper_spec(name, setup).supervision == SETUPS[setup].supervision
    with pytest.raises(InputError, match="BAD_SETTING"):
        paper_spec("patches", "practical")


def test_losses_are_torchs_two_class_cross_entropies():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 2, 5, 5, generator=generator)
    cells, image = logits[:, 1] - logits[:, 0], torch.randn(4, 2, generator=generator)
    target = (torch.rand(4, 5, 5, generator=generator) > 0.5).long()
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0])
    found = loss_of(NetworkAnswer(cells, None), labels, target.float())
    assert torch.isclose(found, F.cross_entropy(logits, target))
    copied = labels.long()[:, None, None].expand(4, 5, 5)
    assert torch.isclose(
        loss_of(NetworkAnswer(cells, None), labels, None), F.cross_entropy(logits, copied)
    )
    plain = F.cross_entropy(image, labels.long())
    assert torch.isclose(loss_of(NetworkAnswer(None, image), labels, None), plain)
    highest = torch.sigmoid(cells.amax((1, 2)))
    both = plain + 0.5 * F.binary_cross_entropy(highest, labels)
    assert torch.isclose(loss_of(NetworkAnswer(cells, image), labels, None, map_weight=0.5), both)
    masks_only = loss_of(NetworkAnswer(cells, image), labels, target.float())
    assert torch.isclose(masks_only, F.cross_entropy(logits, target)), "no loss of the classifier"


@pytest.mark.parametrize("bilinear", [True, False])
def test_targets_are_pils_resized_masks(bilinear):
    mask = np.zeros((64, 64), bool)
    mask[10:40, 5:33] = True
    how = Image.Resampling.BILINEAR if bilinear else Image.Resampling.NEAREST
    kept = Image.fromarray(np.where(mask, 0, 255).astype(np.uint8)).resize((9, 9), how)
    found = cell_targets(mask[None], (9, 9), bilinear=bilinear)
    assert np.array_equal(found[0].numpy() > 0, np.asarray(kept) / 255 < 0.5)
    assert 0 < found.mean() < 1


def test_every_pass_shows_each_picture_once(examples):
    stream = Stream(examples.pick(split="train"), SPEC)
    count = len(stream.examples)
    seen = [i for n in range(3 * count // SPEC.batch) for i in stream.index(n)]
    passes = [seen[k * count : (k + 1) * count] for k in range(len(seen) // count)]
    assert all(sorted(p) == list(range(count)) for p in passes)
    assert passes[0] != passes[1]
    assert stream.index(5) == Stream(stream.examples, SPEC).index(5)
    assert stream.index(5) != Stream(stream.examples, replace(SPEC, seed=1)).index(5)


def test_a_mirrored_picture_has_a_mirrored_mask(examples):
    chosen = examples.pick(split="train", variants=("spliced",))
    always, never = (Stream(chosen, replace(SPEC, flip=f)).batch(0, (12, 12)) for f in (1.0, 0.0))
    assert torch.equal(always.pixels, never.pixels.flip(-1))
    assert (always.cells - never.cells.flip(-1)).abs().mean() < 0.12, "up to nearest's rounding"
    assert not torch.equal(always.cells, never.cells)


def test_degrading_changes_pixels_and_leaves_masks(examples):
    chosen = examples.pick(split="train", variants=("spliced",))
    plain, worn = (
        Stream(chosen, replace(SPEC, flip=0.0, degrade=d)).batch(0, (12, 12)) for d in (0.0, 1.0)
    )
    assert torch.equal(plain.cells, worn.cells)
    assert ((plain.pixels - worn.pixels).abs().mean((1, 2, 3)) > 0.01).all()


def test_a_patches_network_learns_the_toy_and_resumes_to_the_bit(examples, tmp_path):
    chosen = examples.pick(variants=("original", "spliced"))
    spec = replace(SPEC, epochs=3)
    whole = train_localizer(chosen, spec)
    assert len(whole.losses) == len(whole.validation) == 3
    assert whole.losses[-1] < whole.losses[0]

    case = open_case(tmp_path / "case", {})
    with pytest.raises(KeyboardInterrupt):
        train_localizer(chosen, spec, work=Work(case, Interrupt(30)))
    states = [u for u in case.done if "/state-" in u]
    assert len(states) == 2
    resumed = train_localizer(chosen, spec, work=Work(case))
    assert resumed.losses == whole.losses
    assert resumed.validation == whole.validation
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, resumed.network.state_dict()[name]), name
    again = train_localizer(chosen, spec, work=Work(case, Interrupt(0)))
    assert again.losses == whole.losses
    case.close()


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("supervision", ["labels", "masks"])
def test_every_method_takes_a_step_under_both_supervisions(examples, method, supervision):
    spec = replace(
        SPEC, method=method, supervision=supervision, width=0.06, epochs=1, iterations=2, batch=4,
        recalibration=1,
    )  # fmt: skip
    made = train_localizer(examples, spec)
    first = build(method, supervision, 0.06)
    assert made.network.state_dict().keys() == first.state_dict().keys()
    assert made.epoch == 1
    assert np.isfinite(made.losses + made.validation).all()


def test_recalibration_measures_the_statistics_of_its_batches():
    torch.manual_seed(0)
    network = PatchesNetwork(0.1)
    x = torch.randn(6, 3, 99, 99) * 0.3 + 0.2
    recalibrate(network, iter(x.split(2)))
    with torch.no_grad():
        seen = torch.cat([network.conv1(part) for part in x.split(2)])
    assert torch.allclose(network.bn1.running_mean, seen.mean((0, 2, 3)), atol=1e-5)
    assert network.bn1.momentum == 0.1
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    before = network.bn1.running_mean.clone()
    recalibrate(network, iter(()))
    assert torch.equal(network.bn1.running_mean, before)


def test_first_weights_are_taken_by_name_and_strangers_refused(examples):
    spec = replace(SPEC, epochs=1, iterations=1, learning_rate=1e-7, recalibration=0)
    start = PatchesNetwork(spec.width).state_dict()
    made = train_localizer(examples, spec, start=start)
    assert torch.allclose(made.network.conv1.weight, start["conv1.weight"], atol=1e-5)
    with pytest.raises(InputError, match="WRONG_WEIGHTS"):
        train_localizer(examples, spec, start={"lora_up.weight": torch.zeros(2)})


def test_too_little_to_learn_from_is_named(examples):
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_EXAMPLES"):
        train_localizer(examples.pick(variants=("original",)), SPEC)
    spliced = examples.pick(variants=("spliced",))
    with pytest.raises(NotEnoughDataError, match=r"TOO_FEW_EXAMPLES.*both kinds"):
        train_localizer(spliced, replace(SPEC, supervision="labels"))


def test_weights_under_ffd_names_are_a_start(tmp_path):
    torch.manual_seed(5)
    source = build("attention", "labels", 0.1)
    theirs = {
        "module."
        + re.sub(r"^map\.c\.", "map.c.c.", re.sub(r"^map\.pointwise", "map.c.pointwise", k))
        .replace(".conv1.weight", ".c.weight")
        .replace("skipbn", "skip_bn")
        .replace("fc.", "last_linear."): v
        for k, v in source.state_dict().items()
    }
    assert "module.block2.rep.1.c.weight" in theirs
    assert "module.conv1.weight" in theirs  # the stem's first layer keeps its name
    assert own_names(theirs).keys() == source.state_dict().keys()
    spec = LocalizerSpec(method="attention", supervision="labels", width=0.1, side=64)
    trainee = LocalizerTrainee(spec, theirs, "cpu")
    assert all(
        torch.equal(v, source.state_dict()[k]) for k, v in trainee.network.state_dict().items()
    )
