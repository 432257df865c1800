"""A rank of decoys in the node layer: for its suspect and its photos alone; needs no ComfyUI."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lora_forensics.core.casework import decoy_files as decoyfiles
from lora_forensics.core.decoys import rank_variants
from lora_forensics.core.errors import InputError
from lora_forensics.core.images.photos import image_files, load_photos
from lora_forensics.core.specs import DecoySpec
from lora_forensics.core.types import ModelHashes
from lora_forensics.nodes import _evidence
from lora_forensics.nodes._photos import PhotoSet
from PIL import Image

SUSPECT = SimpleNamespace(hashes=ModelHashes("b", "t"))


def folder_of(place, seed, n=12):
    rng = np.random.default_rng(seed)
    place.mkdir()
    for i in range(n):
        pixels = rng.integers(20, 235, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{i:02d}.png")
    return place


@pytest.fixture(scope="module")
def owned(tmp_path_factory):
    """Originals, what was published of them, other photos, and the rank."""
    root = tmp_path_factory.mktemp("owned")
    source, others = folder_of(root / "in", 0), folder_of(root / "others", 1)
    secret = decoyfiles.make_files(source, root / "out", DecoySpec(decoys=9))
    pixels = decoyfiles.read_originals(secret, source)
    rank = rank_variants(secret, pixels, lambda _: 0.0)
    about = decoyfiles.ranked_photos(secret, pixels)
    ranked = _evidence.Ranked(rank, SUSPECT.hashes, about)
    return SimpleNamespace(
        original=source, published=root / "out" / "publish", others=others, ranked=ranked
    )


def from_files(folder):
    return PhotoSet(tuple(image_files(folder)), root=folder)


def from_image(folder):
    files = [np.asarray(Image.open(f, formats=("PNG",))) for f in image_files(folder)]
    batch = torch.from_numpy(np.stack(files)).float() / 255
    return PhotoSet(images=(batch[:5], batch[5:]))


def canonical(folder):
    photos = load_photos(image_files(folder), "photo", 16)
    return PhotoSet(ready=photos, done=("a step",))


WAYS = (from_files, from_image, canonical)


@pytest.mark.parametrize("kind", ["original", "published"])
@pytest.mark.parametrize("way", WAYS)
def test_a_rank_is_for_its_own_photos_however_they_come(owned, way, kind):
    given = way(getattr(owned, kind))
    assert _evidence.checked_rank(SUSPECT, given, owned.ranked) is owned.ranked.rank


@pytest.mark.parametrize("way", WAYS)
def test_a_rank_is_not_for_other_photos(owned, way):
    with pytest.raises(InputError, match=r"OTHER_PHOTOS: .* 0 of the case's 12 photos"):
        _evidence.checked_rank(SUSPECT, way(owned.others), owned.ranked)


def test_one_borrowed_photo_does_not_carry_a_set(owned):
    files = (*image_files(owned.others)[1:], image_files(owned.original)[0])
    with pytest.raises(InputError, match=r"OTHER_PHOTOS: .* 1 of the case's 12 .* 1 of 12"):
        _evidence.checked_rank(SUSPECT, PhotoSet(files), owned.ranked)
    fewer = PhotoSet(tuple(image_files(owned.original)[1:]))
    with pytest.raises(InputError, match=r"OTHER_PHOTOS: .* 11 of the case's 11 .* 11 of the 12"):
        _evidence.checked_rank(SUSPECT, fewer, owned.ranked)


def test_a_rank_is_not_for_another_suspect(owned):
    other = SimpleNamespace(hashes=ModelHashes("b", "u"))
    with pytest.raises(InputError, match="OTHER_SUSPECT"):
        _evidence.checked_rank(other, from_files(owned.original), owned.ranked)


def test_nothing_connected_means_no_rank(owned):
    assert _evidence.checked_rank(SUSPECT, from_files(owned.original), None) is None
