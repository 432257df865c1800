import io
import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.encoders.embedding import embed
from lora_forensics.core.errors import InputError, NotEnoughDataError, ProvenanceError
from lora_forensics.core.images import fingerprints, sets
from lora_forensics.core.images import photos as images
from PIL import Image, ImageOps


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
    kept, dropped = sets.drop_duplicates(photos)
    assert dropped == ("b.jpg",)
    assert len(kept) == 2
    copies, others = photos.select([1]), photos.select([2])
    assert sets.set_twins_aside(photos.select([0]), others).twins is None
    beside = sets.set_twins_aside(photos.select([0]), photos.select([2, 1]))
    assert [f.name for f in beside.twins.facts] == [f.name for f in copies.facts]
    assert (beside.twin_of, len(beside.controls)) == ((0,), 1)
    assert code_of(lambda: sets.check_disjoint(copies, copies)) == "DUPLICATE_PHOTOS"


@pytest.mark.parametrize("quality", [60, 75, 90, 95])
def test_jpeg_quality_is_recovered(tmp_path, quality):
    _, facts = images.decode_file(saved(tmp_path, "a.jpg", noise_picture(), quality=quality))
    assert facts.jpeg_quality == pytest.approx(quality, abs=3)


def test_png_bytes_round_trip():
    pixels = torch.rand(3, 20, 24)
    again = images.to_tensor(Image.open(io.BytesIO(images.png_bytes(pixels)), formats=("PNG",)))
    assert (again - pixels).abs().max() <= 0.5 / 255 + 1e-6


def demo(folder, kind="photo"):
    return images.load_photos(images.image_files(asset_path(f"photos/{folder}")), kind, 64)


def through_file(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return Image.open(out, formats=("PNG", "JPEG"))


def cropped(image, left=0.5, top=0.5, share=0.05):
    w, lost = image.width, image.width * share
    x, y = left * lost, top * lost
    return image.resize(
        image.size, Image.Resampling.LANCZOS, box=(x, y, x + w - lost, y + w - lost)
    )


COPIES = {
    "jpeg q50": lambda i: through_file(i, format="JPEG", quality=50),
    "crop, middle": cropped,
    "crop, corner": lambda i: cropped(i, 0.0, 1.0),
    "mirrored": lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "resized": lambda i: i.resize((40, 40), Image.Resampling.LANCZOS),
    "all": lambda i: through_file(
        cropped(i.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), format="JPEG", quality=60
    ),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_every_demo_photo_are_caught(how):
    photos = demo("guilty_strong")
    pictures = [images.to_picture(p) for p in photos.images.pixels]
    copies = torch.stack(
        [images.to_tensor(images.fit_square(COPIES[how](p).convert("RGB"), 64)) for p in pictures]
    )
    assert sets.near_duplicates(photos.images.pixels, copies) == [(i, i) for i in range(16)]
    assert sets.near_duplicates(copies, photos.images.pixels) == [(i, i) for i in range(16)]


def test_different_photos_of_one_institution_are_not_copies():
    photos, controls = demo("guilty_strong"), demo("controls_north", "control")
    assert sets.set_twins_aside(photos, controls).twins is None
    assert sets.drop_duplicates(controls)[1] == ()
    leak = images.Photos(
        type(photos.images)(photos.images.pixels[[3]].flip(-1), photos.images.sources[3:4]),
        photos.facts[3:4],
    )
    assert code_of(lambda: sets.set_twins_aside(leak, photos)) == "DUPLICATE_PHOTOS"


def test_blank_pictures_are_one_picture_and_nothing_is_none():
    blank = torch.ones(2, 3, 64, 64)
    assert (0, 1) in sets.near_duplicates(blank, blank)
    assert sets.near_duplicates(blank[:0], blank) == []
    assert sets.near_duplicates(blank * 0.1, blank) == []


def test_hash_is_that_of_the_imagehash_package():
    imagehash = pytest.importorskip("imagehash")
    for pixels in demo("guilty_strong").images.pixels[:6]:
        picture = images.to_picture(pixels)
        grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
        assert np.array_equal(fingerprints.phash(grey), imagehash.phash(picture).hash.ravel())


def test_look_alikes_need_one_encoder():
    photos, encoder = demo("guilty_strong"), load_encoder("tiny")
    own = embed(photos.images, encoder)
    alike = sets.look_alikes(own, own)
    assert {(i, i) for i in range(16)} <= {pair[:2] for pair in alike}
    assert [s for *_, s in alike] == sorted((s for *_, s in alike), reverse=True)
    stranger = type(own)(own.vectors, replace(own.encoder, name="other"), own.sources)
    with pytest.raises(ProvenanceError):
        sets.look_alikes(own, stranger)


def with_exif(tmp_path, name, taken, camera, seed):
    image = noise_picture(32, 32, seed)
    exif = image.getexif()
    exif[0x0110] = camera
    exif.get_ifd(0x8769)[0x9003] = taken
    return saved(tmp_path, name, image, exif=exif)


def test_sub_folders_are_sessions(tmp_path):
    for folder in ("day 2", "day 1", ".hidden"):
        (tmp_path / folder).mkdir()
        for k in range(2):
            saved(tmp_path / folder, f"{k}.png", noise_picture(seed=10 * len(folder) + k))
    saved(tmp_path, "alone.png", noise_picture(seed=5))
    files = images.image_files(tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in files] == [
        "alone.png", "day 1/0.png", "day 1/1.png", "day 2/0.png", "day 2/1.png",
    ]  # fmt: skip
    photos = images.load_photos(files, "photo", 32)
    assert [f.session for f in photos.facts] == ["", "day 1", "day 1", "day 2", "day 2"]
    assert photos.images.sources[1].name == photos.facts[1].name == "day 1/0.png"
    ids = sets.sessions(photos)
    assert [a == b for a, b in pairwise(ids)] == [False, True, False, True]
    controls = images.load_photos(files, "control", 32)
    assert not set(ids) & set(sets.sessions(controls))


def test_the_one_sub_folder_is_a_session_when_its_root_is_named(tmp_path):
    (tmp_path / "day").mkdir()
    for k in range(3):
        saved(tmp_path / "day", f"{k}.png", noise_picture(seed=k))
    files = images.image_files(tmp_path)
    assert len(set(sets.sessions(images.load_photos(files, "photo", 32)))) == 3
    assert len(set(sets.sessions(images.load_photos(files, "photo", 32, root=tmp_path)))) == 1


def test_photos_of_one_camera_taken_seconds_apart_are_one_session(tmp_path):
    shots = [
        ("2024:05:01 10:00:00", "X"), ("2024:05:01 10:01:59", "X"), ("2024:05:01 10:03:58", "X"),
        ("2024:05:01 10:06:00", "X"), ("2024:05:01 10:00:05", "Y"), ("unknown", "X"), ("", "X"),
    ]  # fmt: skip
    files = [with_exif(tmp_path, f"{i}.jpg", *shot, i) for i, shot in enumerate(shots)]
    photos = images.load_photos(files, "photo", 32)
    assert [f.taken for f in photos.facts[:2]] == [s[0] for s in shots[:2]]
    assert photos.facts[0].camera == "X"
    ids = sets.sessions(photos)
    assert len({*ids[:3]}) == 1
    assert len({*ids[2:]}) == 5


def test_broken_exif_is_no_session(tmp_path):
    broken = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\xff\xff\xff\x7f"
    _, facts = images.decode_file(saved(tmp_path, "a.jpg", noise_picture(32, 32), exif=broken))
    assert (facts.taken, facts.camera) == ("", "")


def test_a_photo_whose_exif_cannot_be_read_is_taken_as_it_stands(tmp_path):
    """Pillow's own `exif_transpose` ends in struct.error on this one."""
    odd = bytes.fromhex(
        "4578696600004d4d002a000000080004010f0002000000036d6b0000010300020000000463616d00011200030000"
        "0001000600008769000400000001"
        "0000003e000000000002829a00030000000200010002900300020000001400"
        "00005c00000000323032303a30313a30312030303a30303a303000"
    )
    file = saved(tmp_path, "a.jpg", noise_picture(48, 32), exif=odd)
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(file, formats=("JPEG",)))
    picture, _ = images.decode_file(file)
    assert picture.size == (48, 32)
