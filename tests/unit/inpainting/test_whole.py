"""Whole fakes, and pictures that something else repainted, in a set."""

import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.inpainting.examples import make_examples
from lora_forensics.core.inpainting.given import GivenInpainter
from lora_forensics.core.inpainting.whole import add_whole
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.storage import open_case
from toy_examples import Smoother, photos, squares


class Painter:
    name, whole_cost = "painter", 3

    def __init__(self):
        self.drawn = 0

    def facts(self):
        return {"name": self.name}

    def whole(self, seeds, tick):
        self.drawn += len(seeds)
        tick(len(seeds) * self.whole_cost)
        return torch.stack([noise_of(s, (3, 32, 32)).sigmoid() for s in seeds])


@pytest.fixture
def case(tmp_path):
    case = open_case(tmp_path / "set", {"x": 1})
    yield case
    case.close()


def test_whole_pictures_are_fakes_without_a_mask_and_drawn_once(case):
    made = make_examples(photos(4, 32), squares(4, 32), [Smoother()], case)
    painter = Painter()
    whole = add_whole(made, [painter], 20, case, seed=3)
    rows = [r for r in whole.rows if r.variant == "whole"]
    assert len(rows) == 20
    assert len(whole) == len(made) + 20
    assert len({r.sha256 for r in rows}) == 20
    assert {r.split for r in rows} >= {"train", "test"}
    assert all(r.fake and r.generator == "painter" for r in rows)
    assert whole.mask(rows[0]).all()
    assert painter.drawn == 20
    assert add_whole(made, [painter], 20, case, seed=3).rows == whole.rows
    assert painter.drawn == 20


def test_given_pictures_become_examples(case):
    originals = photos(4, 32)
    pixels = originals.images.pixels
    drawn = (pixels * 0.5 + 0.2).mul(255).round().div(255)
    given = GivenInpainter("other", pixels, drawn, pixels.flip(1))
    masks = squares(4, 32)
    made = make_examples(originals, masks, [given], case)
    rows = {r.variant: r for r in made.rows if r.source == originals.images.sources[2].sha256}
    assert rows.keys() == {"original", "spliced", "regenerated", "round_trip"}
    as_pixels = {k: torch.tensor(list(made.picture(r).getdata())) for k, r in rows.items()}
    marked = torch.from_numpy(masks[2].ravel().copy())
    assert torch.equal(as_pixels["spliced"][marked], as_pixels["regenerated"][marked])
    assert torch.equal(as_pixels["spliced"][~marked], as_pixels["original"][~marked])
    assert torch.equal(as_pixels["round_trip"], as_pixels["original"].flip(1))
    assert rows["spliced"].generator == "other"


def test_given_pictures_of_other_photos_are_refused(case):
    pixels = photos(2, 32).images.pixels
    with pytest.raises(InputError, match="BAD_SHAPE"):
        GivenInpainter("other", pixels, pixels[:1])
    given = GivenInpainter("other", pixels, pixels)
    with pytest.raises(InputError, match="UNKNOWN_PHOTO"):
        make_examples(photos(2, 32, seed=9), squares(2, 32), [given], case)
