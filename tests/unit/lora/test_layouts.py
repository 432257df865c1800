"""Every module of the published UNet layouts is found by its kohya name."""

import pytest
import torch
from ldm_layout import original_names, published_unet
from lora_forensics.core.errors import LoraFormatError
from lora_forensics.core.lora.binding import bind
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.operators import delta_shape
from safetensors.torch import save_file


def shapes_and_names(family):
    """Shapes of a published UNet's layers of two or more axes, and their original names."""
    unet = published_unet(family)
    end, names = ".weight", original_names(unet)
    weights = {n: v for n, v in unet.state_dict().items() if n.endswith(end) and v.ndim > 1}
    shapes = {name.removesuffix(end): tuple(value.shape) for name, value in weights.items()}
    return shapes, {name: names[name + end].removesuffix(end) for name in shapes}


@pytest.fixture(scope="module")
def sd15():
    return shapes_and_names("sd1")[0]


@pytest.fixture(scope="module")
def sdxl():
    return shapes_and_names("sdxl")


def whole_adapter(path, shapes, rename):
    tensors = {}
    for name, (out, inner, *kernel) in shapes.items():
        flat = "lora_unet_" + rename(name).replace(".", "_")
        tensors[f"{flat}.lora_down.weight"] = torch.ones(1, inner, *kernel, dtype=torch.float16)
        tensors[f"{flat}.lora_up.weight"] = torch.ones(out, 1, *[1] * len(kernel)).half()
    save_file(tensors, path)
    return read_lora(path)


def test_every_sd15_module_is_found_by_its_kohya_name(sd15, tmp_path):
    lora = whole_adapter(tmp_path / "a.safetensors", sd15, str)
    binding = bind(lora, {"unet": sd15})
    assert lora.family == "SD1.x"
    assert {pair.module for pair in binding.pairs} == set(sd15)
    assert binding.coverage[0].base_touched == len(sd15) == binding.coverage[0].base_total


def test_every_sdxl_module_is_found_by_its_original_name(sdxl, tmp_path):
    shapes, names = sdxl
    lora = whole_adapter(tmp_path / "a.safetensors", shapes, names.get)
    binding = bind(lora, {"unet": shapes})
    assert lora.family == "SDXL"
    for pair in binding.pairs:
        assert delta_shape(pair.operator) == shapes[pair.module]
    assert {pair.module for pair in binding.pairs} == set(shapes)


def test_an_sdxl_adapter_on_sd15_is_refused_with_its_family(sd15, sdxl, tmp_path):
    shapes, names = sdxl
    for rename in (str, names.get):
        lora = whole_adapter(tmp_path / "a.safetensors", shapes, rename)
        with pytest.raises(LoraFormatError, match="looks like SDXL") as caught:
            bind(lora, {"unet": sd15})
        assert caught.value.code == "WRONG_BASE"
