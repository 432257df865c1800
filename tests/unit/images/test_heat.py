import torch
from lora_forensics.core.images.heat import overlay


def test_help_is_red_harm_is_blue_nothing_is_grey():
    photo = torch.full((3, 8, 8), 0.5)
    heat = torch.zeros(4, 4)
    heat[:, 0], heat[:, 3] = 1.0, -1.0
    made = overlay(photo, heat)
    assert (made[0, :, 0] > made[2, :, 0] + 0.3).all()
    assert (made[2, :, -1] > made[0, :, -1] + 0.3).all()
    assert torch.allclose(overlay(photo, torch.zeros(4, 4)), photo)
    assert made.min() >= 0
    assert made.max() <= 1


def test_scale_of_the_heat_does_not_matter():
    photo, heat = torch.rand(3, 8, 8), torch.randn(4, 4)
    assert torch.allclose(overlay(photo, heat), overlay(photo, 1e-4 * heat), atol=1e-5)
