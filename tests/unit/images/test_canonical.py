import io

import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.errors import InputError
from lora_forensics.core.images import photos as images
from lora_forensics.core.images.canonical import canonical, jpeg_pass
from lora_forensics.core.specs import CanonicalSpec
from PIL import Image


class Blur(GaussianPair):
    """A codec that loses something: it halves the resolution."""

    def encode(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels, 2)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents, scale_factor=2).clamp(0, 1)


def photos(n=3):
    files = images.image_files(asset_path("photos/guilty_strong"))[:n]
    return images.load_photos(files, "photo", 64)


def test_nothing_asked_nothing_changed():
    given = photos()
    out, log = canonical(Blur(), given, CanonicalSpec())
    assert out is given
    assert len(log) == 2
    assert "64 x 64" in log[1]


def test_codec_and_jpeg_in_this_order():
    given, pair = photos(), Blur()
    out, log = canonical(pair, given, CanonicalSpec(codec="on", jpeg=70))
    for before, after in zip(given.images.pixels, out.images.pixels, strict=True):
        halved = pair.decode(pair.encode(before[None]))[0]
        assert torch.equal(after, jpeg_pass(images.to_tensor(images.to_picture(halved)), 70))
    assert [("codec" in line, "JPEG comp" in line) for line in log[2:]] == [
        (True, False),
        (False, True),
    ]


def test_jpeg_is_pillows_and_only_once():
    one = photos(1).images.pixels[0]
    data = io.BytesIO()
    images.to_picture(one).save(data, "JPEG", quality=60)  # half chroma is Pillow's default
    want = np.asarray(Image.open(data, formats=("JPEG",)))
    assert np.array_equal(images.to_uint8(jpeg_pass(one, 60)), want)


def test_hashes_of_files_stay_and_those_of_pixels_follow():
    given = photos()
    out, _ = canonical(Blur(), given, CanonicalSpec(codec="on"))
    assert out.facts == given.facts
    for a, b, pixels in zip(
        given.images.sources, out.images.sources, out.images.pixels, strict=True
    ):
        assert a.file_sha256 == b.file_sha256 != ""
        assert a.sha256 != b.sha256 == images.pixels_sha256(images.to_picture(pixels))


def test_a_picture_does_not_depend_on_its_neighbours_and_repeats():
    spec = CanonicalSpec(codec="on", jpeg=50)
    given = photos(4)
    whole, _ = canonical(Blur(), given, spec)
    part, _ = canonical(Blur(), given.select([2]), spec)
    assert torch.equal(whole.images.pixels[[2]], part.images.pixels)


def test_jpeg_makes_compressed_and_uncompressed_photos_alike():
    soft = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 64), mode="bicubic")[0]
    raw = soft.clamp(0, 1)
    again = jpeg_pass(raw, 50)
    before = (raw - again).abs().mean()
    assert (jpeg_pass(raw, 50) - jpeg_pass(again, 50)).abs().mean() < 0.5 * before


def test_a_codec_that_fails_is_named():
    class Odd(GaussianPair):
        def decode(self, latents):
            return latents[..., :-1]

    class Broken(GaussianPair):
        def decode(self, latents):
            return latents * float("nan")

    for pair, code in ((Odd(), "BAD_SHAPE"), (Broken(), "NON_FINITE")):
        with pytest.raises(InputError, match=code):
            canonical(pair, photos(1), CanonicalSpec(codec="on"))


def test_settings_are_bounded():
    for bad in ({"jpeg": 101}, {"codec": "maybe"}):
        with pytest.raises(InputError, match="BAD_SETTING"):
            CanonicalSpec(**bad)
