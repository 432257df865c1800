"""The attack against torchvision and a plain torch loop written from the paper's settings."""

import numpy as np
import pytest
import torch
from lora_forensics.core.attack import classifier as attack
from lora_forensics.core.attack import images as attack_images
from lora_forensics.core.attack.scores import judged_rows, member_scores
from lora_forensics.core.specs import ATTACK_PRESETS
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler, random_split
from torchvision import transforms
from torchvision.models import resnet18

PAPER = ATTACK_PRESETS["paper"]


def published(side):
    """As the paper's code prepares its images."""
    return transforms.Compose([
        transforms.Resize((side, side)),
        transforms.CenterCrop(side),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ])  # fmt: skip


def pictures(n, height, width, seed=0):
    """Smooth pictures with noise on top, 8 bits."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    sizes = [Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC) for c in coarse]
    noisy = [np.asarray(s, int) + rng.integers(-20, 21, (height, width, 3)) for s in sizes]
    return [Image.fromarray(a.clip(0, 255).astype(np.uint8)) for a in noisy]


def tensors(images):
    return torch.stack([transforms.functional.to_tensor(image) for image in images])


@pytest.mark.parametrize("size", [(224, 224), (512, 512), (300, 420), (64, 64)])
def test_preprocessing_equals_torchvisions(size):
    images = pictures(3, *size)
    ours = attack_images.normalize(attack_images.resize_bytes(tensors(images), 224))
    wanted = torch.stack([published(224)(image) for image in images])
    level = 1 / 255 / min(attack_images.STD)
    assert (ours - wanted).abs().max() <= (1e-6 if size == (224, 224) else 2.01 * level)
    assert (ours - wanted).abs().mean() < 0.5 * level
    steps = published(224).transforms
    wanted = steps[3](steps[1](steps[0](tensors(images))))  # torchvision's tensor path, unrounded
    assert (ours - wanted).abs().max() <= 0.51 * level


def test_network_is_torchvisions_resnet18_with_two_outputs(tmp_path):
    torch.manual_seed(3)
    reference = resnet18(weights=None)
    save_file(reference.state_dict(), tmp_path / "r18.safetensors")
    model = attack.build_classifier(tmp_path / "r18.safetensors").eval()
    reference.fc = torch.nn.Linear(512, 2)
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in reference.state_dict().items()
    }
    reference.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(x), reference.eval()(x))


class Folder(Dataset):
    """Pictures on disk, decoded and prepared each time, as torchvision's ImageFolder does."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.labels[i]


def reference_epoch(dataset, weights, seed, batch):
    """Plain PyTorch: resnet18, new head, Adam 1e-3, cross-entropy, shuffled batches."""
    torch.manual_seed(seed)
    model = resnet18(weights=None)
    model.load_state_dict(weights)
    model.fc = torch.nn.Linear(512, 2)
    sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(seed))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.001)
    model.train()
    total = 0.0
    for inputs, labels in DataLoader(dataset, batch_size=batch, sampler=sampler):
        optimiser.zero_grad()
        loss = torch.nn.CrossEntropyLoss()(model(inputs), labels)
        loss.backward()
        optimiser.step()
        total += loss.item() * len(labels)
    return model.eval(), total / len(dataset)


def test_an_epoch_of_the_paper_preset_equals_a_plain_loop(tmp_path):
    torch.manual_seed(1)
    weights = resnet18(weights=None).state_dict()
    save_file(weights, tmp_path / "r18.safetensors")
    images, side, seed = pictures(13, 64, 64), 64, 4
    labels = [1] * 7 + [0] * 6
    spec = type(PAPER)(**{**vars(PAPER), "epochs": 1, "minibatch": 4, "side": side})
    mine = attack.train_classifier(
        tensors(images[:7]), tensors(images[7:]), spec, seed, weights=tmp_path / "r18.safetensors"
    )
    other, loss = reference_epoch(Folder(images, labels, published(side)), weights, seed, 4)
    for (name, ours), wanted in zip(
        mine.module.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert (ours - wanted).abs().max() <= 1e-5, name
    assert mine.losses == pytest.approx((loss,), rel=1e-6)
    queries = pictures(5, 64, 64, seed=9)
    with torch.no_grad():
        logits = other(torch.stack([published(side)(q) for q in queries]))
    scores = attack.score_images(mine, tensors(queries))
    assert torch.allclose(scores, (logits[:, 1] - logits[:, 0]).double(), atol=1e-5)
    assert np.allclose(member_scores(scores, PAPER), F.softmax(logits, 1)[:, 1], atol=1e-6)


def test_softmax_scores_saturate_as_the_papers_do():
    z = torch.linspace(-30, 30, 601)
    wanted = F.softmax(torch.stack([torch.zeros_like(z), z], 1), 1)[:, 1]
    found = member_scores(z.double(), PAPER)
    assert np.array_equal(found, wanted.double())
    assert int((found == 1).sum()) > 50


@pytest.mark.parametrize(("photos", "controls", "seed"), [(7, 13, 0), (20, 21, 3), (1120, 978, 4)])
def test_the_test_set_is_split_as_torchs_random_split_does(photos, controls, seed):
    rows = [f"control {i}" for i in range(controls)] + [f"photo {i}" for i in range(photos)]
    torch.manual_seed(seed)
    watched = int(0.15 * len(rows))
    parts = random_split(rows, [len(rows) - watched, watched])
    names = [f"photo {i}" for i in range(photos)] + [f"control {i}" for i in range(controls)]
    for ours, theirs in zip(judged_rows(photos, controls, PAPER, seed), parts, strict=True):
        assert [names[i] for i in ours] == list(theirs)


def test_the_paper_preset_holds_the_papers_values():
    wanted = {
        "images": 2500, "cfgs": (7.5,), "steps": 100, "seeds": 5, "epochs": 20, "side": 224,
        "learning_rate": 1e-3, "minibatch": 32, "augment": "none", "holdout": 0.0, "codec": "off",
        "selection": "last", "scores": "softmax", "test_holdout": 0.15, "precision": "float32",
    }  # fmt: skip
    assert {k: vars(PAPER)[k] for k in wanted} == wanted
    zhang = vars(ATTACK_PRESETS["zhang"])
    assert (zhang["learning_rate"], zhang["minibatch"], zhang["epochs"]) == (1e-5, 256, 20)
