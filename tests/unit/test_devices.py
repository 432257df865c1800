"""A device is named before anything is loaded for it."""

import pytest
import torch
from lora_forensics.core.devices import torch_device
from lora_forensics.core.errors import InputError
from lora_forensics.core.images.captions import caption


def test_devices_by_name():
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("name", "code"),
    [("cuda:99", "NO_DEVICE"), ("vulkan", "NO_DEVICE"), ("meta", "BAD_SETTING"),
     ("gpu", "BAD_SETTING"), ("", "BAD_SETTING")],
)  # fmt: skip
def test_others_are_refused(name, code):
    with pytest.raises(InputError) as error:
        torch_device(name)
    assert error.value.code == code
    assert repr(name) in str(error.value) or f"{name} was asked" in str(error.value)


def test_captions_name_the_device_first(tmp_path):
    with pytest.raises(InputError, match="NO_DEVICE"):
        caption([], tmp_path, device="cuda:99")
