"""Watermarks equal PIL's paste; the faint one moves no pixel by more than two grey levels."""

import numpy as np
import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.images.watermark import default_logo, faint, load_logo, visible
from lora_forensics.core.sampling.plans import noise_of
from PIL import Image


def random_logo():
    return noise_of(5, (4, 285, 195)).sigmoid()


def as_picture(tensor):
    levels = tensor.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(levels)


def levels_of(tensor):
    return np.asarray(as_picture(tensor)).astype(int)


def photo(height=512, width=512):
    return as_picture(noise_of(1, (3, height, width)).sigmoid())


def tensor_of(picture):
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("logo", [random_logo(), default_logo()], ids=["random", "default"])
def test_visible_is_pils_paste(logo):
    expected = photo()
    mark = as_picture(logo).resize((100, int(logo.shape[1] * 100 / logo.shape[2])))
    expected.paste(mark, (5, 5), mask=mark)
    made = visible(tensor_of(photo()), logo)
    assert np.array_equal(levels_of(made), np.asarray(expected))
    changed = (levels_of(made) != np.asarray(photo())).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), columns.min()) >= (5, 5)
    assert rows.max() < 5 + mark.height
    assert columns.max() < 105


@pytest.mark.parametrize("logo", [random_logo(), default_logo()], ids=["random", "default"])
def test_faint_is_the_papers_paste(logo):
    expected = photo()
    height = int(logo.shape[1] * 350 / logo.shape[2])
    red, green, blue, alpha = as_picture(logo).resize((350, height)).split()
    mark = Image.merge(
        "RGBA", (red.point(lambda _: 255), green, blue, alpha.point(lambda a: int(a * 0.01)))
    )
    expected.paste(mark, (81, (512 - height) // 2), mask=mark)
    assert np.array_equal(levels_of(faint(tensor_of(photo()), logo)), np.asarray(expected))


def test_the_papers_sizes():
    logo = torch.ones(4, 2846, 1951)
    assert tuple(default_logo(100).shape) == (4, 145, 100)
    black = torch.zeros(3, 512, 512)
    shown, hidden = (levels_of(f(black, logo)).any(-1) for f in (visible, faint))
    assert (shown.sum(), hidden.sum()) == (100 * 145, 350 * 510)
    assert shown[5, 5]
    assert hidden[1, 81]
    assert not hidden[0].any()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_faint_moves_no_pixel_by_more_than_two_levels(value):
    plain = torch.full((3, 512, 512), value)
    for logo in (default_logo(), torch.ones(4, 100, 80), random_logo()):
        moved = np.abs(levels_of(faint(plain, logo)) - levels_of(plain))
        assert moved.max() <= 2
        assert moved.max() > 0 or value == 1.0


def test_numbers_scale_with_the_side():
    black, logo = torch.zeros(3, 64, 64), torch.ones(4, 20, 20)
    rows, columns = np.nonzero(levels_of(visible(black, logo)).any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 12, 1, 12)
    wide = levels_of(visible(torch.zeros(3, 64, 128), logo, width=0.5, offset=0.0)).any(-1)
    assert wide.sum() == 32 * 32
    centred = np.nonzero(levels_of(faint(torch.zeros(3, 64, 128), logo)).any(-1))[1]
    assert (centred.min(), centred.max()) == (42, 85)


def test_logos_are_read_with_their_alpha(tmp_path):
    logo = default_logo(40)
    for suffix in ("png", "webp"):
        as_picture(logo).save(tmp_path / f"x.{suffix}", lossless=True, exact=True)
        torch.testing.assert_close(
            load_logo(tmp_path / f"x.{suffix}"), logo, atol=0.5 / 255, rtol=0
        )


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_logo_without_transparency_is_opaque(tmp_path, suffix, mode):
    path = tmp_path / f"logo.{suffix}"
    photo(10, 200).convert(mode).save(path)
    logo = load_logo(path)
    assert tuple(logo.shape) == (4, 10, 200)
    assert (logo[3] == 1).all()
    shown = levels_of(visible(torch.zeros(3, 64, 64), logo)).any(-1)
    assert shown.any()


def test_opaque_logos_of_print_and_scanners_are_read(tmp_path):
    photo(20, 20).convert("CMYK").save(tmp_path / "print.jpg")
    Image.fromarray(np.full((20, 20), 128 * 257, np.uint16)).save(tmp_path / "scan.png")
    assert tuple(load_logo(tmp_path / "print.jpg").shape) == (4, 20, 20)
    assert levels_of(load_logo(tmp_path / "scan.png")[:3]).mean() == 128


def test_a_mark_that_cannot_be_seen_is_refused():
    black, faded = torch.zeros(3, 64, 64), torch.ones(4, 20, 20)
    faded[3] = 0.3
    for mark, logo in ((visible, torch.zeros(4, 20, 20)), (faint, faded)):
        with pytest.raises(InputError, match="NO_MARK"):
            mark(black, logo)


def test_a_logo_that_does_not_fit_is_told_what_can_be_done():
    with pytest.raises(InputError, match=r"LOGO_TOO_LARGE.*crop the logo") as error:
        visible(torch.zeros(3, 64, 64), torch.ones(4, 400, 40))
    assert "smaller width" not in str(error.value)


def test_bad_logos_are_named(tmp_path):
    photo(20, 20).save(tmp_path / "logo.bmp")
    as_picture(default_logo(40)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    wanted = {
        "logo.bmp": "NOT_AN_IMAGE",
        "cut.png": "CORRUPT_IMAGE",
        "none.png": "UNREADABLE_IMAGE",
    }
    for name, code in wanted.items():
        with pytest.raises(InputError) as error:
            load_logo(tmp_path / name)
        assert error.value.code == code


def test_bad_images_are_named():
    tall = torch.ones(4, 400, 40)
    wanted = {
        "LOGO_TOO_LARGE": (torch.zeros(3, 64, 64), tall),
        "BAD_SHAPE": (torch.zeros(1, 64, 64), tall),
        "BAD_PIXELS": (torch.full((3, 64, 64), 255.0), tall),
    }
    for code, (pixels, logo) in wanted.items():
        for mark in (visible, faint):
            with pytest.raises(InputError) as error:
                mark(pixels, logo)
            assert error.value.code == code
