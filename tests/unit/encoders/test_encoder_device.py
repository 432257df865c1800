"""A descriptor runs where it is told, and takes pixels from anywhere."""

import pytest
import torch
from lora_forensics.core.devices import device_of
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.errors import InputError


def test_the_network_goes_to_the_device_and_pixels_follow_it():
    encoder = load_encoder("tiny", device="cpu")
    assert device_of(encoder.network) == torch.device("cpu")
    encoder.network.to("meta")  # a device that is everywhere and holds no numbers
    assert encoder(torch.rand(2, 3, 32, 32)).device.type == "meta"


def test_a_device_that_is_not_here_is_named():
    with pytest.raises(InputError, match="NO_DEVICE"):
        load_encoder("tiny", device="cuda:99")
