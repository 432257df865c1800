"""Maps of pictures of any size: placed where they belong, blended, gated; files and cards."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.inpainting.examples import Example
from lora_forensics.core.localization.files import (
    KEY,
    Card,
    Localizer,
    load_localizer,
    read_card,
    save_localizer,
)
from lora_forensics.core.localization.judging import judge, pooled
from lora_forensics.core.localization.localizing import Box, localize, tiles
from lora_forensics.core.localization.measuring import Seen, finish, nulls_of
from lora_forensics.core.localization.networks import (
    AttentionNetwork,
    ClassifierNetwork,
    NetworkAnswer,
    PatchesNetwork,
)
from lora_forensics.core.localization.placing import resized_as_published, upsampled
from lora_forensics.core.localization.settings import LocalizerSpec, LocalizeSpec
from lora_forensics.core.localization.training import train_localizer
from lora_forensics.core.storage import write_atomic
from PIL import Image
from safetensors.torch import save, save_file
from toy_examples import toy_set

CARD = Card(
    method="patches",
    supervision="masks",
    width=1.0,
    side=128,
    source_side=64,
    pooling="top",
    alarm=0.05,
    trained_on="toy pictures",
    pictures=10,
    seed=0,
    epoch=1,
)


class Bright(torch.nn.Module):
    """Cells of stride 8 and offset 3, each as sure as its pixel is bright."""

    def __init__(self, logit=20.0):
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(logit))

    def forward(self, x):
        return NetworkAnswer(self.logit * x[:, :, 3::8, 3::8].mean(1), None)


def picture(height=64, width=64, box=(16, 40, 20, 48)):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box[0] : box[1], box[2] : box[3]] = 255
    return Image.fromarray(pixels)


def found(image, card=CARD, **settings):
    return localize(image, Localizer(Bright(), card, ""), LocalizeSpec(**settings))


def test_cells_stand_at_their_centres():
    cells = torch.tensor([[0.0, 1.0, 0.0]])
    assert upsampled(cells, (1, 25), 8, 3)[0, [3, 7, 11, 19, 24]].tolist() == [0, 0.5, 1, 0, 0]
    assert upsampled(torch.ones(1, 1), (5, 7), 8, 3).eq(1).all()


def test_the_published_resize_is_pils_bicubic_and_may_overshoot():
    cells = torch.zeros(8, 8)
    cells[:, :4] = 1
    made = resized_as_published(cells, (32, 32))
    wanted = Image.fromarray(cells.numpy()).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(made, np.asarray(wanted))
    assert made.max() > 1.01


@pytest.mark.parametrize(("height", "width"), [(64, 64), (150, 64), (97, 203), (256, 131)])
@pytest.mark.parametrize("views", [1, 2])
def test_a_region_is_found_where_it_is_at_any_size(height, width, views):
    box = (height // 3, height // 3 + 30, width // 4, width // 4 + 26)
    made = found(picture(height, width, box), views=views)
    mask = np.zeros((height, width), bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    marked = made.map.numpy() > 0.5
    assert made.map.shape == (height, width)
    assert (marked & mask).sum() / (marked | mask).sum() > 0.75
    rows, columns = np.nonzero(marked)
    assert abs(rows.mean() - (box[0] + 14.5)) < 2, "half a cell"
    assert abs(columns.mean() - (box[2] + 12.5)) < 2
    assert made.area == pytest.approx(marked.mean(), abs=1e-6)
    assert made.confidence.isnan().all() == (views == 1)


def test_tiles_cover_a_picture_and_agree_where_they_overlap():
    image = Image.new("RGB", (203, 97))
    boxes = tiles(image, CARD.source_side, 0.25)
    seen = np.zeros((97, 203), int)
    for box in boxes:
        seen[box.top : box.top + box.height, box.left : box.left + box.width] += 1
        assert box[2:] == (64, 64)
    assert seen.min() >= 1
    assert tiles(Image.new("RGB", (40, 50)), CARD.source_side, 0.25) == (Box(0, 0, 50, 40),)
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 12, 3), np.uint8)).resize((203, 97))
    plain, more = (found(smooth, overlap=o, views=1).map for o in (0.0, 0.6))
    assert (plain - more).abs().mean() < 0.03


def test_memory_follows_the_batch_not_the_picture():
    sizes = []

    class Watching(Bright):
        def forward(self, x):
            sizes.append(tuple(x.shape))
            return super().forward(x)

    localize(Image.new("RGB", (500, 400)), Localizer(Watching(), CARD, ""), LocalizeSpec(batch=4))
    assert {s[1:] for s in sizes} == {(3, 128, 128)}
    assert max(s[0] for s in sizes) == 4


def test_the_map_is_blank_below_the_gate_and_kept_beside():
    gated = replace(CARD, nulls=(0.9,) * 40)
    faint = localize(
        picture(), Localizer(Bright(1.0), gated, ""), LocalizeSpec()
    )  # cells of at most 0.73
    assert faint.blank
    assert not faint.map.any()
    assert faint.raw.max() > 0.5
    assert faint.area == 0
    clear = found(picture(), gated)
    assert not clear.blank
    assert clear.map.max() > 0.9
    off = localize(picture(), Localizer(Bright(1.0), gated, ""), LocalizeSpec(gate="off"))
    assert off.map.any()


def test_small_pictures_and_broken_networks_are_named():
    with pytest.raises(InputError, match=r"IMAGE_TOO_SMALL.*20 x 20.*32"):
        found(Image.new("RGB", (20, 20)))
    broken = Localizer(Bright(float("nan")), CARD, "")
    with pytest.raises(InputError, match="NON_FINITE"):
        localize(picture(), broken)


def test_scores_by_method_and_supervision():
    x = torch.randn(2, 3, 99, 99, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    patches = judge(PatchesNetwork(0.1).eval(), x)
    assert torch.allclose(patches.scores, patches.maps.mean((1, 2)))
    attention = AttentionNetwork(0.1).eval()
    weak, full = (judge(attention, x, supervision=s) for s in ("labels", "masks"))
    logits = attention(x).image
    assert torch.allclose(weak.scores, logits[:, 1])
    assert torch.allclose(weak.probabilities, logits.softmax(1)[:, 1])
    assert torch.allclose(full.scores, full.maps.mean((1, 2))), "its classifier learnt nothing"
    assert torch.equal(weak.maps, full.maps)
    cam = judge(ClassifierNetwork(0.1).eval(), x, supervision="labels")
    assert cam.maps.shape == weak.maps.shape
    assert pooled(torch.arange(100.0).view(1, 10, 10), "top").item() == 97


def with_nulls(count, seed=0, **more):
    scores = np.sort(np.random.default_rng(seed).uniform(size=count))[::-1]
    return replace(CARD, nulls=tuple(scores.tolist()), **more)


def test_a_gate_lets_its_share_of_untouched_pictures_through():
    # Of uniform scores the share above a gate is 1 - gate.
    alarms = [1 - with_nulls(60, k).gate for k in range(4000)]
    assert np.mean(alarms) == pytest.approx(3 / 61, abs=0.002)
    assert with_nulls(18).gate is None
    assert with_nulls(19).gate == max(with_nulls(19).nulls)
    card = with_nulls(60)
    passed = {s: card.p_value(s) <= card.alarm for s in (card.gate, card.gate + 1e-9)}
    assert list(passed.values()) == [False, True]


@pytest.mark.parametrize("tiles", [1, 4, 12])
def test_large_untouched_pictures_are_not_marked_for_their_size(tiles):
    false = []
    for k in range(300):
        card = with_nulls(400, k)
        highest = np.random.default_rng(5000 + k).uniform(size=(50, tiles)).max(1)
        false += [card.p_value(s, tiles) <= card.alarm for s in highest]
    assert np.mean(false) <= 0.05 + 0.01
    assert with_nulls(60).p_value(2.0, tiles=10) > 0.05  # 60 photos cannot bound ten tiles
    assert with_nulls(0).p_value(2.0) is None


def test_a_photo_counts_once_with_its_highest_untouched_variant():
    rows = [("a", 0.1), ("a", 0.7), ("b", 0.3)]
    plain = Example(
        file="x", mask="", variant="original", generator="none", source="", split="val", sha256=""
    )
    seen = [Seen(replace(plain, source=s), None, v, False, 0) for s, v in rows]
    assert nulls_of(seen) == (0.7, 0.3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    examples = toy_set(tmp_path_factory.mktemp("toy") / "set", 160)
    spec = LocalizerSpec(
        width=0.25, side=128, batch=8, iterations=25, epochs=3, degrade=0.0, recalibration=10
    )
    chosen = examples.pick(variants=("original", "spliced", "round_trip"))
    return finish(train_localizer(chosen, spec), examples, "toy", source_side=64)


def test_a_card_says_what_was_measured(trained):
    card = trained.card
    assert card.gate is not None
    assert len(card.nulls) >= 19
    fresh = {u.name: u for u in card.untouched}
    assert fresh.keys() == {"original", "smoother, round_trip"}
    names = {m.name for m in card.measured}
    assert names == {"smoother, spliced", "smoother, regenerated"}
    spliced = next(m for m in card.measured if m.name.endswith("spliced"))
    assert spliced.domain == "in"
    assert spliced.iou > 0.5 > spliced.all_fake_iou
    assert spliced.found > 0.8
    assert all(u.marked <= 0.4 * u.pictures and u.pictures > 0 for u in card.untouched)
    assert len(card.limits) == 2


def test_a_localizer_comes_back_from_its_file(trained, tmp_path):
    path = save_localizer(trained.network, trained.card, tmp_path / "ä b.safetensors")
    again = load_localizer(path)
    assert again.card == trained.card
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    mine, theirs = localize(image, trained), localize(image, again)
    assert torch.equal(mine.raw, theirs.raw)
    assert mine.score == theirs.score


def test_other_files_are_named(trained, tmp_path):
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(4, 2)}, lora)
    with pytest.raises(InputError, match=r"NOT_A_LOCALIZER.*LoRA"):
        load_localizer(lora)
    text = tmp_path / "a.safetensors"
    text.write_text("hello")
    with pytest.raises(InputError):
        load_localizer(text)
    tensors = {k: v.contiguous() for k, v in trained.network.state_dict().items()}
    facts = {"schema_version": 1, **asdict(trained.card)}

    def written(**changes):
        write_atomic(text, save(tensors, {KEY: json.dumps(facts | changes)}))
        return text

    with pytest.raises(InputError, match="WRONG_WEIGHTS"):
        load_localizer(written(width=0.5))
    with pytest.raises(InputError, match="LOCALIZER_SCHEMA"):
        read_card(written(schema_version=2))
    for changes in (
        {"method": "magic"},
        {"side": 10**6},
        {"nulls": ["no"]},
        {"nulls": [0.1, 0.2]},
        {"more": 1},
    ):
        with pytest.raises(InputError, match="NOT_A_LOCALIZER"):
            read_card(written(**changes))
