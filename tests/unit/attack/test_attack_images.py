"""What the classifier sees: sizes, bytes, and augmentation that is the same for both classes."""

import pytest
import torch
from lora_forensics.core.attack import images as attack_images
from lora_forensics.core.attack.images import AUGMENTATIONS
from scipy.ndimage import gaussian_filter


def some(n=6, side=32, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_bytes_of_eight_bit_images_are_kept():
    kept = torch.randint(0, 256, (5, 3, 20, 20), generator=rng()).to(torch.uint8)
    assert torch.equal(attack_images.resize_bytes(kept.float() / 255, 20), kept)


def test_chunks_change_nothing(monkeypatch):
    x = some(7, 40)
    whole = attack_images.resize_bytes(x, 24)
    monkeypatch.setattr(attack_images, "_CHUNK", 2)
    assert torch.equal(attack_images.resize_bytes(x, 24), whole)
    assert (whole.shape, whole.dtype) == ((7, 3, 24, 24), torch.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_repeats_and_keeps_shape_and_range(name):
    x = some()
    once, again = (AUGMENTATIONS[name](x, rng(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert once.shape == x.shape
    assert 0 <= once.min() <= once.max() <= 1
    assert torch.equal(once, x) is (name == "none")


def test_a_shift_moves_pixels_and_invents_none():
    x = some()
    out = attack_images.mirror_and_shift(x, rng())
    for before, after in zip(x, out, strict=True):
        assert torch.isin(after, before).all()


def test_each_image_moves_on_its_own():
    x = some(1).repeat(40, 1, 1, 1)
    assert len({image.numpy().tobytes() for image in attack_images.mirror_and_shift(x, rng())}) > 10


def test_blur_equals_scipys():
    x, sigma = some(2), torch.tensor([0.6, 1.3])
    out = attack_images.blur(x, sigma, 6)
    for image, blurred, s in zip(x, out, sigma.tolist(), strict=True):
        for channel, wanted in zip(image, blurred, strict=True):
            reference = gaussian_filter(channel.numpy(), s, mode="mirror", radius=6)
            assert abs(torch.from_numpy(reference) - wanted).max() < 1e-5


def test_half_of_the_images_are_blurred_and_half_go_through_jpeg():
    x = some(64)
    for change in (attack_images.blur_half, attack_images.jpeg_half):
        moved = (change(x, rng()) != x).flatten(1).any(1)
        assert 16 < int(moved.sum()) < 48


def test_jpeg_is_pillows():
    smooth = some(1, 4)[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
    fine, coarse = (attack_images.through_jpeg(smooth, q) for q in (95, 20))
    assert (fine - smooth).abs().mean() < (coarse - smooth).abs().mean() < 0.1
