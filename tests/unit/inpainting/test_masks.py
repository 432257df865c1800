"""Masks lie inside, cover what they should, and files are read for what they say."""

import numpy as np
import pytest
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.inpainting.masks import (
    PARTS,
    face_parts,
    free_form,
    random_mask,
    read_labels,
    read_mask,
    rectangle,
)
from PIL import Image
from scipy.ndimage import label


@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (256, 200)])
def test_rectangles_are_whole_and_of_the_stated_area(shape):
    for seed in range(200):
        mask = rectangle(*shape, np.random.default_rng(seed))
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.03 < mask.mean() < 0.43


def test_strokes_vary_and_leave_something():
    areas = [free_form(64, 64, np.random.default_rng(seed)).mean() for seed in range(200)]
    assert min(areas) > 0
    assert max(areas) < 0.95
    assert np.std(areas) > 0.03


def test_a_seed_is_a_mask_and_mixed_takes_every_kind():
    assert np.array_equal(random_mask(64, 64, "mixed", 5), random_mask(64, 64, "mixed", 5))
    boxes = sum(
        bool(m[np.ix_(m.any(1), m.any(0))].all())
        for m in (random_mask(64, 64, "mixed", s) for s in range(60))
    )
    assert 10 < boxes < 50
    with pytest.raises(InputError, match="BAD_SETTING"):
        random_mask(8, 8, "circle", 0)


def test_face_parts_hold_whole_parts_and_small_ones_grow():
    labels = np.zeros((128, 128), np.uint8)
    labels[20:110, 20:110] = 1
    labels[50:54, 40:46] = 4
    labels[50:54, 80:86] = 5
    grown = 0
    for seed in range(40):
        mask = face_parts(labels, np.random.default_rng(seed), ("eyes",))
        assert mask[labels == 4].all()
        assert mask[labels == 5].all()
        assert label(mask)[1] == 2
        grown = max(grown, int(mask.sum()))
    assert grown > 2 * 48
    skin = face_parts(labels, np.random.default_rng(0), ("skin",))
    assert np.array_equal(skin, labels == 1), "large parts are taken as they are"


def test_missing_parts_are_named():
    with pytest.raises(NotEnoughDataError, match="NO_PARTS"):
        face_parts(np.zeros((8, 8), int), np.random.default_rng(0))
    with pytest.raises(InputError, match="BAD_SETTING"):
        face_parts(np.ones((8, 8), int), np.random.default_rng(0), ("elbow",))
    assert set(PARTS) >= {"skin", "hair", "eyes", "mouth", "nose", "glasses"}


def test_white_says_what_it_is_told_to_say(tmp_path):
    grey = np.zeros((20, 30), np.uint8)
    grey[5:9] = 255
    file = tmp_path / "mask ü.png"
    Image.fromarray(grey).save(file)
    assert np.array_equal(read_mask(file, (20, 30)), grey > 0)
    assert np.array_equal(read_mask(file, (20, 30), white="untouched"), grey == 0)
    with pytest.raises(InputError, match=r"MASK_SIZE.*30 x 20.*40 x 20"):
        read_mask(file, (20, 40))
    with pytest.raises(InputError, match="BAD_SETTING"):
        read_mask(file, (20, 30), white="maybe")


def test_parser_output_keeps_its_classes(tmp_path):
    classes = np.arange(16, dtype=np.uint8).reshape(4, 4)
    file = tmp_path / "labels.png"
    picture = Image.fromarray(classes, "L")
    picture.save(file)
    found = read_labels(file, (8, 8))
    assert np.array_equal(found[::2, ::2], classes)
    Image.new("RGB", (4, 4)).save(file)
    with pytest.raises(InputError, match="NOT_LABELS"):
        read_labels(file, (4, 4))
    file.write_text("no picture")
    with pytest.raises(InputError, match="NOT_LABELS"):
        read_labels(file, (4, 4))
