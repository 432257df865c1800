"""Null models are other adapters than the suspect and each other, at the suspect's strength."""

import pytest
import tiny_models
import torch
from lora_forensics.core.backends.loading import pair_of
from lora_forensics.core.casework.placebos import placebo_group
from lora_forensics.core.errors import InputError
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.specs import FinetuneSpec
from lora_forensics.core.storage import open_case
from lora_forensics.core.training.retraining import training_on
from lora_forensics.core.types import TUNED
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def networks():
    return tiny_models.networks("sd1")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    names = enumerate(("suspect", "one", "two"), 1)
    return [tiny_models.save_lora(root / f"{n}.safetensors", seed=s) for s, n in names]


def copied(file, folder):
    """The same tensors with other metadata."""
    path = folder / f"copy of {file.name}"
    save_file(load_file(file), path, {"note": "another file"})
    assert path.read_bytes() != file.read_bytes()
    return path


def opened(networks, file, strength=1.0):
    pair = pair_of(networks, file, strength=strength)
    try:
        return answer(pair)
    finally:
        pair.close()


@torch.no_grad()
def answer(pair):
    cond = pair.condition(["a photo"], [TUNED])
    return pair(noise_of(1, (1, *pair.latent_shape)), torch.tensor([2.0]), cond)


def test_a_copy_with_other_metadata_is_no_placebo(networks, files, tmp_path):
    suspect, one, two = files
    pair = pair_of(networks, suspect)
    try:
        assert len(placebo_group(pair, [one, two]).models) == 2
        for given in ([one, copied(suspect, tmp_path)], [one, two, copied(one, tmp_path)]):
            with pytest.raises(InputError, match="SAME_ADAPTER"):
                placebo_group(pair, given)
    finally:
        pair.close()


@pytest.mark.parametrize("strength", [1.0, 0.5, -2.0])
def test_placebos_act_as_strongly_as_the_suspect(networks, files, strength):
    pair = pair_of(networks, files[0], strength=strength)
    try:
        assert pair.strength == strength
        null = placebo_group(pair, files[1:2]).models[0].open()
        found = answer(null)
        null.close()
    finally:
        pair.close()
    assert torch.equal(found, opened(networks, files[1], strength))
    if strength == 1.0:  # as it always was
        assert torch.equal(found, opened(networks, files[1]))
    else:
        assert not torch.allclose(found, opened(networks, files[1]))


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_counterfactuals_act_as_strongly_as_the_suspect(networks, files, strength, tmp_path):
    pair, case = pair_of(networks, files[0], strength=strength), open_case(tmp_path / "case", {})
    spec = FinetuneSpec(steps=4, batch=2, rank=2, learning_rate=1e-2, warmup=0)
    try:
        null = training_on(pair, "a photo", case)(noise_of(1, (2, 3, 16, 16)).sigmoid(), spec, 0)
        model = null.open()
        assert model is not None
        found = answer(model)
        model.close()
    finally:
        pair.close()
        case.close()
    path = case.root / "counterfactual" / "0000.safetensors"
    assert torch.equal(found, opened(networks, path, strength))
    same = torch.equal(found, opened(networks, path))
    assert same == (strength == 1.0)
