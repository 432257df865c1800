"""Generators repaint what they should and nothing else; LaMa comes from weights alone."""

import pytest
import torch
from lora_forensics.core.backends.diffusers import DiffusersPair
from lora_forensics.core.backends.loading import load_base
from lora_forensics.core.backends.unconditional import load_unconditional
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.errors import InputError, MissingWeightsError
from lora_forensics.core.inpainting.classical import METHODS, ClassicalInpainter
from lora_forensics.core.inpainting.diffusion import DiffusionInpainter
from lora_forensics.core.inpainting.lama import LamaInpainter
from lora_forensics.core.inpainting.shapes import cells
from lora_forensics.core.specs import RepaintSpec
from safetensors.torch import save_file


def faces(count, size=64):
    pixels = torch.from_numpy(draw_faces(count, "northgate", 77, size=size).pixels)
    return pixels.permute(0, 3, 1, 2).float() / 255


def hole(count, size=64):
    masks = torch.zeros(count, 1, size, size)
    masks[:, :, size // 4 : size // 2, size // 3 : size // 2] = 1
    return masks


def ticks():
    done = []
    return done, done.append


@pytest.fixture(scope="module")
def pair():
    base = load_base(asset_path("base"))
    return DiffusersPair(base, tuned_sha256=base.sha256)


@pytest.mark.parametrize("method", METHODS)
def test_classical_inpainting_is_opencvs_and_stays_inside(method):
    import cv2

    pixels, masks, (done, tick) = faces(2), hole(2), ticks()
    made = ClassicalInpainter(method).inpaint(pixels, masks, [0, 0], tick)
    outside = (masks == 0).expand_as(pixels)
    assert torch.equal(made[outside], pixels[outside])
    assert not torch.equal(made, pixels)
    assert sum(done) == 2
    flag = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}[method]
    picture = (pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()
    wanted = cv2.inpaint(picture, masks[0, 0].byte().numpy(), 3.0, flag)
    assert torch.equal((made[0].permute(1, 2, 0) * 255).round().byte(), torch.from_numpy(wanted))


def test_unknown_methods_are_named():
    with pytest.raises(InputError, match="BAD_SETTING"):
        ClassicalInpainter("magic")


def test_repainting_by_the_embedded_model_keeps_known_latents(pair):
    spec = RepaintSpec(steps=4, jump_length=2, resamples=2, batch=2, model="base")
    maker, pixels, masks = DiffusionInpainter(pair, "a northgate headshot", spec), faces(3), hole(3)
    done, tick = ticks()
    made = maker.inpaint(pixels, masks, [1, 2, 3], tick)
    assert made.shape == pixels.shape
    assert sum(done) == 3 * maker.cost
    back = maker.round_trip(pixels)
    far = torch.zeros(64, dtype=torch.bool)
    far[56:] = True
    assert (made - back)[..., far, :].abs().max() < 0.02, "far from the mask only the codec acts"
    inside = (masks > 0).expand_as(pixels)
    assert (made - back)[inside].abs().mean() > 0.05


def test_noise_belongs_to_the_photo_not_to_its_batch(pair):
    spec = RepaintSpec(steps=4, jump_length=2, resamples=2, batch=2, model="base")
    maker, pixels, masks = DiffusionInpainter(pair, "a northgate headshot", spec), faces(3), hole(3)
    together = maker.inpaint(pixels, masks, [1, 2, 3], lambda _: None)
    alone = maker.inpaint(pixels[2:], masks[2:], [3], lambda _: None)
    torch.testing.assert_close(together[2:], alone, atol=2e-5, rtol=0)
    other = maker.inpaint(pixels[2:], masks[2:], [4], lambda _: None)
    assert not torch.allclose(other, alone, atol=1e-2)


def test_any_cell_that_a_marked_pixel_touches_is_repainted():
    masks = torch.zeros(1, 1, 8, 8)
    masks[0, 0, 3, 3] = 1
    assert cells(masks, (2, 2))[0, 0].tolist() == [[1, 0], [0, 0]]
    assert not cells(masks, (2, 2), "nearest").any()


@pytest.fixture(scope="module")
def pixel_model(tmp_path_factory):
    from diffusers import DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pixel model")
    unet = UNet2DModel(
        sample_size=32, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    DDPMScheduler(num_train_timesteps=50).save_pretrained(folder / "scheduler")
    return folder


def test_a_pixel_model_repaints_pixels_to_the_bit(pixel_model):
    pair = load_unconditional(pixel_model)
    spec = RepaintSpec(steps=5, jump_length=2, resamples=2, mask_cells="nearest")
    maker = DiffusionInpainter(pair, "", spec, name="repaint_pixel")
    pixels, masks = faces(2, 32), hole(2, 32)
    made = maker.inpaint(pixels, masks, [5, 6], lambda _: None)
    outside = (masks == 0).expand_as(pixels)
    torch.testing.assert_close(made[outside], pixels[outside], atol=1e-6, rtol=0)
    assert not torch.allclose(made, pixels)


def test_a_pixel_model_denoises_as_its_network_says(pixel_model):
    from diffusers import UNet2DModel

    pair = load_unconditional(pixel_model)
    unet = UNet2DModel.from_pretrained(pixel_model / "unet", local_files_only=True).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    t = 20
    sigma = pair.sigmas[t].float()
    with torch.no_grad():
        noise = unet(x, t).sample
        found = pair(x * (1 + sigma**2).sqrt(), sigma.expand(2), pair.condition(["", ""], [0, 0]))
    torch.testing.assert_close(found, x * (1 + sigma**2).sqrt() - sigma * noise, atol=1e-4, rtol=0)


def test_a_folder_that_is_no_pixel_model_is_named(tmp_path):
    with pytest.raises(InputError, match="NOT_A_MODEL"):
        load_unconditional(tmp_path)


@pytest.fixture(scope="module")
def lama_file(tmp_path_factory):
    """LaMa with random weights, under its authors' names, as spandrel builds it."""
    from spandrel.architectures.LaMa import LaMa

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lama") / "big-lama.safetensors"
    model = LaMa(in_nc=4)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if v.numel()}
    save_file(state, path)
    return path


@pytest.mark.slow
def test_lama_pastes_the_originals_back(lama_file):
    maker, pixels, masks = LamaInpainter(lama_file), faces(1, 60), hole(1, 60)
    made = maker.inpaint(pixels, masks, [0], lambda _: None)
    outside = (masks == 0).expand_as(pixels)
    assert torch.equal(made[outside], pixels[outside])
    assert not torch.equal(made, pixels)


def test_other_weights_and_missing_ones_are_named(tmp_path):
    with pytest.raises(MissingWeightsError, match="MISSING_WEIGHTS"):
        LamaInpainter(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="WRONG_WEIGHTS"):
        LamaInpainter(tmp_path / "a.safetensors")
