"""Lines that ran one by one make a case only together; a rank is for its suspect and photos."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lora_forensics.core.casework import decoy_files as decoyfiles
from lora_forensics.core.casework.lines import (
    DecoysRanked,
    LineEvidence,
    check_question,
    checked_rank,
    merged_facts,
    named_lines,
)
from lora_forensics.core.casework.photo_sets import PhotoSet
from lora_forensics.core.decoys import rank_variants
from lora_forensics.core.errors import InputError
from lora_forensics.core.images.photos import image_files, load_photos
from lora_forensics.core.specs import DecoySpec
from lora_forensics.core.types import ModelHashes
from PIL import Image

SUSPECT = ModelHashes("b", "t")


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
    ranked = DecoysRanked(rank, SUSPECT, about)
    return SimpleNamespace(
        original=source, published=root / "out" / "publish", others=others, ranked=ranked
    )


def from_files(folder):
    return PhotoSet(tuple(image_files(folder)), root=folder)


def from_image(folder):
    files = [np.asarray(Image.open(f, formats=("PNG",))) for f in image_files(folder)]
    batch = torch.from_numpy(np.stack(files)).float().movedim(-1, 1) / 255
    return PhotoSet(pixels=(batch[:5], batch[5:]))


def canonical(folder):
    photos = load_photos(image_files(folder), "photo", 16)
    return PhotoSet(ready=photos, done=("a step",))


WAYS = (from_files, from_image, canonical)


@pytest.mark.parametrize("kind", ["original", "published"])
@pytest.mark.parametrize("way", WAYS)
def test_a_rank_is_for_its_own_photos_however_they_come(owned, way, kind):
    given = way(getattr(owned, kind))
    assert checked_rank(SUSPECT, given, owned.ranked) is owned.ranked.rank


@pytest.mark.parametrize("way", WAYS)
def test_a_rank_is_not_for_other_photos(owned, way):
    with pytest.raises(InputError, match=r"OTHER_PHOTOS: .* 0 of the case's 12 photos"):
        checked_rank(SUSPECT, way(owned.others), owned.ranked)


def test_one_borrowed_photo_does_not_carry_a_set(owned):
    files = (*image_files(owned.others)[1:], image_files(owned.original)[0])
    with pytest.raises(InputError, match=r"OTHER_PHOTOS: .* 1 of the case's 12 .* 1 of 12"):
        checked_rank(SUSPECT, PhotoSet(files), owned.ranked)
    fewer = PhotoSet(tuple(image_files(owned.original)[1:]))
    with pytest.raises(InputError, match=r"OTHER_PHOTOS: .* 11 of the case's 11 .* 11 of 12"):
        checked_rank(SUSPECT, fewer, owned.ranked)


def test_a_rank_is_not_for_another_suspect(owned):
    with pytest.raises(InputError, match="OTHER_SUSPECT"):
        checked_rank(ModelHashes("b", "u"), from_files(owned.original), owned.ranked)


def test_nothing_connected_means_no_rank(owned):
    assert checked_rank(SUSPECT, from_files(owned.original), None) is None


def line(name, question="q", **facts):
    return LineEvidence(name, f"what {name} found", question, {"settings": {name: 1}}, facts)


def test_lines_of_one_question_make_one_case():
    lines = named_lines(membership=line("membership", a=1), attack=line("attack", b=2))
    check_question("q", lines)
    assert list(lines) == ["membership", "attack"]
    settings, pictures = merged_facts(lines)
    assert settings == {"membership": 1, "attack": 1}
    assert pictures == {"a": 1, "b": 2}
    assert list(named_lines(membership=line("membership"), extraction=None)) == ["membership"]


def test_lines_of_two_questions_or_on_another_input_are_refused():
    with pytest.raises(InputError, match="MIXED_EVIDENCE: attack is about another"):
        check_question("q", {"membership": line("membership"), "attack": line("attack", "other")})
    with pytest.raises(InputError, match="BAD_INPUT: input attack got evidence of extraction"):
        named_lines(attack=line("extraction"))
