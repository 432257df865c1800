"""Controls that look like a photo are listed, shown, and named beside the verdict."""

from dataclasses import replace

import torch
from lora_forensics.core.casework.alike import MOST_SHOWN, alike_controls, alike_words
from lora_forensics.core.casework.exhibits import exhibits
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.encoders.embedding import embed
from lora_forensics.core.images.photos import photos_of
from lora_forensics.core.images.sets import Sets


def pictures(count, seed, kind="PNG"):
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 6, 6, generator=generator)
    pixels = torch.nn.functional.interpolate(small, (64, 64), mode="bicubic").clamp(0, 1)
    return photos_of(pixels, [f"{seed}-{i}" for i in range(count)], kind)


def alike(sets):
    encoder = load_encoder("tiny")
    embedded = [embed(p.images, encoder) for p in (sets.photos, sets.controls)]
    return alike_controls(sets, *embedded, encoder)


def test_strangers_are_not_alike():
    found = alike(Sets(pictures(4, 1), pictures(6, 2)))
    assert found == ()
    assert alike_words(found) == []


def test_copies_among_controls_are_listed_once_each_and_shown():
    photos = pictures(4, 1)
    found = alike(Sets(photos, photos.select([2, 0])))
    assert {(one.photo, one.control) for one in found} == {(2, "control 0"), (0, "control 1")}
    assert all(one.similarity > 0.99 and not one.set_aside for one in found)
    assert {one.picture for one in found} == {f"pictures/control-{i:04d}.png" for i in (0, 1)}
    (words,) = alike_words(found)
    assert words.startswith("2 of the controls look like copies")


def test_twins_come_first_with_the_name_of_their_file():
    photos, controls = pictures(4, 1), pictures(5, 2)
    sets = Sets(photos, controls, photos.select([3]), (3,))
    (twin,) = alike(sets)
    assert (twin.photo, twin.control, twin.set_aside) == (3, "1-3", True)
    assert "1 of the controls given" in alike_words([twin])[0]
    assert set(exhibits(sets, None, [twin])) - set(exhibits(sets)) == {"pictures/twin-0000.png"}


def test_only_the_most_alike_are_kept_as_pictures():
    photos = pictures(MOST_SHOWN + 3, 5)
    found = alike(Sets(photos, replace(photos)))
    assert len(found) == MOST_SHOWN + 3
    assert sum(bool(one.picture) for one in found) == MOST_SHOWN
