"""Grad-CAM against the grad-cam package."""

import numpy as np
import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.localization.gradcam import grad_cam, unit_range
from lora_forensics.core.localization.networks import ClassifierNetwork
from torch.nn import functional as F


def package_map(network, layer, x, target):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(target)] * len(x)
    with GradCAM(model=network, target_layers=[layer]) as cam:
        found = torch.from_numpy(cam(input_tensor=x, targets=targets))
    network.zero_grad(set_to_none=True)
    return found


@pytest.fixture(scope="module")
def resnet():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18(num_classes=3).eval()


@pytest.mark.parametrize("target", [0, 2])
def test_map_equals_the_package(resnet, target):
    x = torch.randn(2, 3, 96, 96)
    wanted = package_map(resnet, resnet.layer4, x, target)
    found = F.interpolate(
        grad_cam(resnet, "layer4", x, target)[:, None], (96, 96), mode="bilinear"
    )[:, 0]
    assert torch.allclose(unit_range(found), wanted, atol=1e-5)
    assert float(wanted.max()) > 0.99


def test_map_of_the_projects_own_classifier_equals_the_package():
    class Logits(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).image

    torch.manual_seed(1)
    network = ClassifierNetwork(0.1).eval()
    wrapped, x = Logits(network), torch.randn(2, 3, 150, 150)
    wanted = package_map(wrapped, network.block11, x, 1)
    ours = grad_cam(network, "block11", x, 1, logits_of=lambda net, x: net(x).image)
    found = F.interpolate(ours[:, None], (150, 150), mode="bilinear")[:, 0]
    assert np.abs(unit_range(found).numpy() - wanted.numpy()).max() < 1e-5


def test_it_works_under_inference_mode(resnet):
    x = torch.randn(1, 3, 64, 64)
    wanted = grad_cam(resnet, "layer4", x)
    with torch.inference_mode():
        assert torch.equal(grad_cam(resnet, "layer4", x.clone()), wanted)
    assert all(p.grad is None for p in resnet.parameters())


def test_wrong_layers_and_classes_are_named(resnet):
    x = torch.randn(1, 3, 64, 64)
    with pytest.raises(InputError, match=r"BAD_LAYER.*layer4"):
        grad_cam(resnet, "block11", x)
    with pytest.raises(InputError, match=r"BAD_LAYER.*no feature map"):
        grad_cam(resnet, "fc", x)
    with pytest.raises(InputError, match="BAD_CLASS"):
        grad_cam(resnet, "layer4", x, 3)


def test_a_map_without_evidence_is_blank():
    assert not unit_range(torch.zeros(1, 4, 4)).any()
