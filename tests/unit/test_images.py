import io

import numpy as np
import pytest
import torch
from lora_forensics.core import images
from lora_forensics.core.errors import InputError, NotEnoughDataError
from PIL import Image


def noise_picture(width=64, height=48, seed=0, mode="RGB"):
    channels = {"RGB": 3, "RGBA": 4, "L": 1, "CMYK": 4}[mode]
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(array.squeeze(), mode)


def smooth_picture(width=96, height=96, seed=0):
    small = noise_picture(6, 6, seed)
    return small.resize((width, height), Image.Resampling.BICUBIC)


def saved(tmp_path, name, image, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def code_of(call):
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    name = "a.jpg" if mode == "CMYK" else "a.png"
    picture, facts = images.decode_file(saved(tmp_path, name, noise_picture(mode=mode)))
    assert picture.mode == "RGB"
    assert (facts.width, facts.height) == (64, 48)


def test_transparency_is_laid_on_white(tmp_path):
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    picture, _ = images.decode_file(saved(tmp_path, "a.png", clear))
    assert np.asarray(picture).min() == 255


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 32, dtype=np.uint16), (32, 1))
    picture, _ = images.decode_file(saved(tmp_path, "a.png", Image.fromarray(ramp)))
    levels = np.asarray(picture)[0, :, 0]
    assert levels[0] == 0
    assert levels[-1] == 255
    assert (np.diff(levels.astype(int)) > 0).all()


def test_orientation_is_applied(tmp_path):
    image = noise_picture(40, 20)
    exif = image.getexif()
    exif[0x0112] = 6
    picture, _ = images.decode_file(saved(tmp_path, "a.jpg", image, exif=exif))
    assert picture.size == (20, 40)


def test_bad_files_are_named(tmp_path):
    text = tmp_path / "a.png"
    text.write_text("no image")
    assert code_of(lambda: images.decode_file(text)) == "NOT_AN_IMAGE"
    good = saved(tmp_path, "b.png", noise_picture()).read_bytes()
    cut = tmp_path / "c.png"
    cut.write_bytes(good[: len(good) // 2])
    assert code_of(lambda: images.decode_file(cut)) == "CORRUPT_IMAGE"
    gif = saved(tmp_path, "d.gif", noise_picture())
    assert code_of(lambda: images.decode_file(gif)) == "NOT_AN_IMAGE"
    thin = saved(tmp_path, "e.png", noise_picture(400, 20))
    assert code_of(lambda: images.decode_file(thin)) == "BAD_IMAGE_SHAPE"


def test_huge_image_is_refused_before_decoding(tmp_path):
    bomb = saved(tmp_path, "a.png", Image.new("L", (8000, 8000)))
    assert bomb.stat().st_size < 200_000
    assert code_of(lambda: images.decode_file(bomb)) == "IMAGE_TOO_LARGE"


def test_folders(tmp_path):
    assert code_of(lambda: images.image_files(tmp_path / "none")) == "MISSING_FOLDER"
    (tmp_path / "notes.txt").write_text("caption")
    with pytest.raises(NotEnoughDataError, match="EMPTY_FOLDER"):
        images.image_files(tmp_path)
    b = saved(tmp_path, "b.jpg", noise_picture())
    a = saved(tmp_path, "a.PNG", noise_picture(), format="PNG")
    assert images.image_files(tmp_path) == [a, b]


def test_native_size_is_left_untouched(tmp_path):
    image = noise_picture(32, 32)
    photos = images.load_photos([saved(tmp_path, "a.png", image)], "photo", 32)
    assert np.array_equal(images.to_uint8(photos.images.pixels[0]), np.asarray(image))
    assert photos.images.sources[0].sha256 == images.pixels_sha256(image)


def test_copies_are_found_through_size_and_compression(tmp_path):
    one, other = smooth_picture(seed=1), smooth_picture(seed=2)
    files = [
        saved(tmp_path, "a.png", one),
        saved(tmp_path, "b.jpg", one.resize((80, 80)), quality=85),
        saved(tmp_path, "c.png", other),
    ]
    photos = images.load_photos(files, "photo", 64)
    kept, dropped = images.drop_duplicates(photos)
    assert dropped == ("b.jpg",)
    assert len(kept) == 2
    copies, others = photos.select([1]), photos.select([2])
    images.check_disjoint(photos.select([0]), others)
    assert code_of(lambda: images.check_disjoint(photos.select([0]), copies)) == "DUPLICATE_PHOTOS"


@pytest.mark.parametrize("quality", [60, 75, 90, 95])
def test_jpeg_quality_is_recovered(tmp_path, quality):
    _, facts = images.decode_file(saved(tmp_path, "a.jpg", noise_picture(), quality=quality))
    assert facts.jpeg_quality == pytest.approx(quality, abs=3)


def test_png_bytes_round_trip():
    pixels = torch.rand(3, 20, 24)
    again = images.to_tensor(Image.open(io.BytesIO(images.png_bytes(pixels)), formats=("PNG",)))
    assert (again - pixels).abs().max() <= 0.5 / 255 + 1e-6
