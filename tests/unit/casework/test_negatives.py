"""A folder of label-0 images must hold no picture that the attack is asked about."""

import shutil

import numpy as np
import pytest
import tiny_models
from lora_forensics.core.casework.opening import open_request
from lora_forensics.core.casework.questions import build_question
from lora_forensics.core.casework.request import Request
from lora_forensics.core.errors import InputError
from lora_forensics.core.protocols import NoProgress
from PIL import Image


def pictures(folder, count, seed):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((60, 60), Image.Resampling.BICUBIC).save(folder / f"{folder.name}{i}.png")
    return folder


@pytest.fixture
def request_(tmp_path):
    return Request(
        base=tiny_models.save_base(tmp_path / "base"),
        tuned=tiny_models.save_lora(tmp_path / "suspect.safetensors"),
        photos=pictures(tmp_path / "photos", 3, 1),
        controls=pictures(tmp_path / "controls", 4, 2),
        negatives=pictures(tmp_path / "negatives", 4, 3),
        out=tmp_path / "case",
        device="cpu",
        dtype="float32",
    )


def test_negatives_of_their_own_are_the_label_0_images(request_):
    opened = open_request(request_, NoProgress())
    question = build_question(
        request_, opened.pair, opened.inspection, opened.sets, opened.negatives
    )
    assert question.negatives_from == "folder"
    assert question.negatives.shape == (4, 3, 16, 16)


@pytest.mark.parametrize("shared", ["photos", "controls"])
def test_a_picture_that_is_asked_about_is_refused_and_named(request_, shared):
    source = getattr(request_, shared) / f"{shared}1.png"
    copy = request_.negatives / "again.jpg"
    Image.open(source).save(copy, quality=95)
    with pytest.raises(InputError, match=f"both in --{shared} and in --negatives") as error:
        open_request(request_, NoProgress())
    assert error.value.code == "DUPLICATE_PHOTOS"
    assert f"{shared}1.png = again.jpg" in str(error.value)


def test_the_photos_themselves_are_refused(request_):
    shutil.rmtree(request_.negatives)
    shutil.copytree(request_.photos, request_.negatives)
    with pytest.raises(InputError, match="both in --photos and in --negatives: 3 pictures"):
        open_request(request_, NoProgress())
