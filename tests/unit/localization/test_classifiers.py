"""Grad-CAM of classifiers that a user brings, against the grad-cam package."""

import numpy as np
import pytest
import timm
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.localization.classifiers import MEANS, explain, load_classifier
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file
from torchvision import models
from torchvision.transforms import v2

KINDS = {"resnet18": ("layer4", "imagenet"), "timm/legacy_xception": ("block11", "half")}


def network_of(name):
    torch.manual_seed(0)
    if name.startswith("timm/"):
        return timm.create_model(name.removeprefix("timm/"), num_classes=3).eval()
    return models.get_model(name, num_classes=3).eval()


@pytest.fixture(params=sorted(KINDS))
def brought(request, tmp_path):
    name = request.param
    network = network_of(name)
    path = tmp_path / "net.safetensors"
    save_file({k: v.contiguous().clone() for k, v in network.state_dict().items()}, path)
    return name, network, path


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8))


def test_maps_are_those_of_the_package(brought, picture):
    name, network, path = brought
    layer, norm = KINDS[name]
    loaded = load_classifier(path, name, layer, side=96, normalisation=norm)
    mean, deviation = MEANS[norm]
    x = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, deviation)]
    )(picture)[None]
    with GradCAM(model=network, target_layers=[network.get_submodule(layer)]) as cam:
        theirs = [cam(input_tensor=x, targets=[ClassifierOutputTarget(k)])[0] for k in range(3)]
    logits, seen = network(x)[0].detach(), 0
    for k, map_of_theirs in enumerate(theirs):
        found = explain(loaded, picture, k)
        assert found.logit == pytest.approx(float(logits[k]), abs=1e-5)
        assert found.probability == pytest.approx(float(logits.softmax(0)[k]), abs=1e-6)
        assert bool(found.map.any()) == bool(map_of_theirs.any())
        if map_of_theirs.any():  # the package enlarges by OpenCV and stretches again
            seen += 1
            assert np.corrcoef(found.map.numpy().ravel(), map_of_theirs.ravel())[0, 1] > 0.9999
    assert seen


def test_a_map_has_the_picture_s_size(tmp_path):
    network = network_of("resnet18")
    path = tmp_path / "net.safetensors"
    save_file(network.state_dict(), path)
    wide = Image.fromarray(np.zeros((40, 90, 3), np.uint8))
    assert explain(load_classifier(path, "resnet18", "layer4"), wide, 0).map.shape == (40, 90)


def test_wrong_files_and_names_are_named(tmp_path, picture):
    path = tmp_path / "net.safetensors"
    save_file(network_of("resnet18").state_dict(), path)
    for architecture, code in (
        ("resnet50", "WRONG_WEIGHTS"),
        ("vgg11", "WRONG_WEIGHTS"),
        ("resnet19", "BAD_SETTING"),
        ("timm/resnet19", "BAD_SETTING"),
    ):
        with pytest.raises(InputError, match=code):
            load_classifier(path, architecture, "layer4")
    with pytest.raises(InputError, match="BAD_SETTING"):
        load_classifier(path, "resnet18", "layer4", normalisation="none")
    loaded = load_classifier(path, "resnet18", "layer9")
    with pytest.raises(InputError, match="BAD_LAYER"):
        explain(loaded, picture, 0)
    with pytest.raises(InputError, match="BAD_CLASS"):
        explain(load_classifier(path, "resnet18", "layer4"), picture, 3)
