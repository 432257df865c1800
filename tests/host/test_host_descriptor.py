"""Copy descriptors where ComfyUI's users keep weights."""

from __future__ import annotations

import pytest
import torch
from lora_forensics.core.encoders.sscd import FILE, SscdNetwork
from lora_forensics.core.errors import MissingWeightsError
from safetensors.torch import save_file


@pytest.fixture
def sscd_folder(comfy, host_base):
    from lora_forensics.nodes.extension import register_folders

    register_folders()
    folder = host_base / "models" / "sscd"
    assert str(folder) in comfy.folder_paths.get_folder_paths("sscd")
    folder.mkdir(exist_ok=True)
    yield folder
    (folder / FILE).unlink(missing_ok=True)


def load(name):
    from lora_forensics.nodes.loaders import LoadDescriptor

    return LoadDescriptor.execute(name)


def test_without_weights_auto_takes_the_embedded_one(sscd_folder):
    encoder, said = load("auto").result
    assert encoder.id.name != "sscd_disc_mixup"
    assert encoder.id.sha256 in said


def test_a_missing_file_is_named_with_its_folder(sscd_folder):
    with pytest.raises(MissingWeightsError, match=FILE) as caught:
        load("sscd")
    assert str(sscd_folder) in str(caught.value)
    assert "MIT" in str(caught.value)


def test_weights_in_the_models_folder_are_found(sscd_folder):
    torch.manual_seed(0)
    save_file(SscdNetwork().state_dict(), sscd_folder / FILE)
    for name in ("auto", "sscd"):
        encoder, said = load(name).result
        assert encoder.id.name == "sscd_disc_mixup"
        assert encoder.id.sha256 in said
