"""SSCD: every published name of its weights is read, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.encoders.sscd import FILE, SscdEncoder, SscdNetwork, sscd_state
from lora_forensics.core.errors import InputError, MissingWeightsError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

State = dict[str, Tensor]


class Pool(nn.Module):
    """The authors' pooling as they write it, over flattened space."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).clamp(min=1e-6).pow(3.0).mean(dim=2).pow(1.0 / 3.0)


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """The authors' torchvision form: pooling and linear layer inside the body."""
    torch.manual_seed(0)
    body = resnet50(weights=None, num_classes=512)
    body.avgpool = Pool()  # type: ignore[assignment]
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.1, 0.4)
            nn.init.normal_(module.running_mean, 0, 0.1)
    return body.eval()


@pytest.fixture(scope="module")
def torchvision_names(published: nn.Module) -> State:
    return {f"backbone.{k}": v for k, v in published.state_dict().items()}


def own_names(state: State) -> State:
    return {k.replace("backbone.fc.", "embeddings."): v for k, v in state.items()}


def nested_names(state: State) -> State:
    return {k.replace("backbone.fc.", "embeddings.1."): v for k, v in state.items()}


def classy_names(state: State) -> State:
    """Written from Classy Vision's modules, not from our table."""
    parts = {"conv1": "0", "bn1": "1", "conv2": "3", "bn2": "4", "conv3": "6"}
    made = {}
    for key, value in nested_names(state).items():
        words = key.split(".")
        if words[1].startswith("layer"):
            i = int(words[1][-1]) - 1
            words[1:3] = ["blocks", str(i), f"block{i}-{words[2]}"]
            if words[4] in parts:
                words[4:5] = ["convolutional_block", parts[words[4]]]
            elif words[4] == "bn3":
                words[4] = "bn"
        elif words[1] in ("conv1", "bn1"):
            words[1:2] = ["initial_block", "_module", parts[words[1]]]
        made[".".join(words)] = value
    return made


def without_counters(state: State) -> State:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("rename", [dict, own_names, nested_names, classy_names, without_counters])
def test_every_published_form_is_one_state(
    torchvision_names: State, rename: Callable[[State], State]
) -> None:
    found = sscd_state(rename(torchvision_names))
    wanted = own_names(torchvision_names)
    assert without_counters(found).keys() == without_counters(wanted).keys()
    assert all(found[k] is wanted[k] for k in found)


def test_descriptors_equal_the_authors_form(published: nn.Module, torchvision_names: State) -> None:
    network = SscdNetwork().eval()
    network.load_state_dict(sscd_state(torchvision_names))
    x = torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(network(x), F.normalize(published(x)), atol=1e-6)


def test_a_file_is_read_and_named_by_its_hash(torchvision_names: State, tmp_path: Path) -> None:
    save_file(without_counters(classy_names(torchvision_names)), tmp_path / FILE)
    encoder = load_encoder("sscd", tmp_path)
    made = encoder(torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(2)))
    assert made.shape == (2, 512)
    assert torch.allclose(made.norm(dim=1), torch.ones(2), atol=1e-5)
    assert len(encoder.id.sha256) == 64


def fine_tuned_pool(state: State) -> State:
    return {**nested_names(state), "embeddings.0.p": torch.tensor([3.0])}


def two_heads(state: State) -> State:
    return {**state, "embeddings.weight": state["backbone.fc.weight"]}


def imagenet(state: State) -> State:
    return {**state, "backbone.fc.weight": torch.zeros(1000, 2048)}


def bare_body(state: State) -> State:
    return {k.removeprefix("backbone."): v for k, v in state.items()}


def deeper(state: State) -> State:
    return {**classy_names(state), "backbone.blocks.2.block2-22.bn.weight": torch.zeros(1024)}


def headless(state: State) -> State:
    return {k: v for k, v in state.items() if ".fc." not in k}


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (fine_tuned_pool, r"'embeddings.0.p' unknown"),
        (two_heads, r"'backbone.fc.weight', 'embeddings.weight' given twice"),
        (imagenet, r"'backbone.fc.weight \[1000, 2048\]' of another shape"),
        (bare_body, r"'conv1.weight', .* and 316 more unknown; .* missing"),
        (deeper, r"'backbone.blocks.2.block2-22.bn.weight' unknown"),
        (headless, r"'embeddings.bias', 'embeddings.weight' missing"),
    ],
)
def test_other_weights_are_refused_by_name(
    torchvision_names: State, rename: Callable[[State], State], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        sscd_state(rename(torchvision_names))
    assert caught.value.code == "WRONG_WEIGHTS"
    assert "Wanted: a ResNet-50" in str(caught.value)
    assert len(str(caught.value)) < 1200


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(InputError):
        SscdEncoder(tmp_path / FILE)


def test_missing_weights_say_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=FILE):
        load_encoder("sscd", tmp_path)
