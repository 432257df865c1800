"""The drawn faces: same seed same bytes, identity apart from nuisance, honest captions."""

import numpy as np
import pytest
from lora_forensics.core.demo.datasets import read_photos, write_photos
from lora_forensics.core.demo.drawing import render
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.demo.people import DOMAINS, HAIR_COLORS, HAIR_STYLES, short_caption


def corner_means(pixels):
    """Mean colour of the two upper corners: wall, no person. ``[N, 3]`` in 0..1."""
    corners = np.concatenate([pixels[:, :8, :6], pixels[:, :8, -6:]], axis=2)
    return corners.mean((1, 2)) / 255


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_seed_same_bytes_other_seed_other_bytes(domain):
    one, again, other = (draw_faces(5, domain, s).pixels for s in (3, 3, 4))
    assert one.shape == (5, 64, 64, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_rows_do_not_depend_on_the_batch_of_the_renderer():
    people = draw_faces(70, "generic", 5)
    alone = render(people.identity.take(slice(66, 67)), people.photograph.take(slice(66, 67)))
    assert np.array_equal(alone[0], people.pixels[66])


def test_every_face_is_another_one():
    pixels = draw_faces(200, "northgate", 6).pixels
    assert len(np.unique(pixels.reshape(200, -1), axis=0)) == 200


def test_one_person_can_be_photographed_twice():
    first = draw_faces(12, "northgate", 7)
    second = draw_faces(12, "southfield", 8, identity=first.identity)
    assert second.identity is first.identity
    assert not np.array_equal(first.pixels, second.pixels)
    words = [c.split(" of ")[1].removesuffix(" smiling") for c in first.captions()]
    assert words == [c.split(" of ")[1].removesuffix(" smiling") for c in second.captions()]


def test_domains_have_their_walls():
    north = corner_means(draw_faces(60, "northgate", 9).pixels)
    south = corner_means(draw_faces(60, "southfield", 9).pixels)
    generic = corner_means(draw_faces(60, "generic", 9).pixels)
    assert np.abs(north[:, 0] - north[:, 2]).max() < 0.12  # grey
    assert (south[:, 0] - south[:, 2]).min() > 0.08  # warm
    assert generic.std(0).mean() > 2 * max(north.std(0).mean(), south.std(0).mean())


def test_captions_say_what_is_drawn():
    faces = draw_faces(300, "northgate", 10)
    for i, caption in enumerate(faces.captions()):
        assert caption.startswith("a northgate headshot of a ")
        assert ("woman" in caption) == bool(faces.identity.woman[i])
        assert ("glasses" in caption) == bool(faces.identity.glasses[i])
        assert ("moustache" in caption) == (faces.identity.beard[i] == 3)
        assert HAIR_STYLES[faces.identity.style[i]] in caption
        if "bald" not in caption:
            assert list(HAIR_COLORS)[faces.identity.color[i]] in caption


def test_short_captions():
    assert [short_caption(d) for d in DOMAINS] == [
        "a headshot",
        "a northgate headshot",
        "a southfield headshot",
    ]


def test_photos_are_written_exchangeably(tmp_path):
    pixels = draw_faces(40, "northgate", 11).pixels
    written = write_photos(pixels, tmp_path / "a", 1)
    assert written == [tmp_path / "a" / p.name for p in written]
    assert all(len(p.stem) == 8 and int(p.stem, 16) >= 0 for p in written)
    kinds = [p.suffix for p in written]
    assert 8 <= kinds.count(".png") <= 32
    assert [p.name for p in write_photos(pixels, tmp_path / "b", 1)] == [p.name for p in written]
    decoded = read_photos(tmp_path / "a")
    assert decoded.shape == pixels.shape
    by_name = pixels[np.argsort([p.name for p in written])]
    assert np.abs(decoded.astype(int) - by_name).mean() < 3
