"""A folder of label-0 images must hold no picture that the attack is asked about."""

import shutil

import pytest
from command_files import smooth_pictures
from lora_forensics.core.casework.opening import open_request
from lora_forensics.core.casework.questions import build_question
from lora_forensics.core.casework.request import Request
from lora_forensics.core.errors import InputError
from lora_forensics.core.protocols import NoProgress
from PIL import Image


@pytest.fixture
def request_(tiny_folder, tmp_path):
    return Request(
        base=tiny_folder / "base",
        tuned=tiny_folder / "suspect.safetensors",
        photos=smooth_pictures(tmp_path / "photos", 3, 1),
        controls=smooth_pictures(tmp_path / "controls", 4, 2),
        negatives=smooth_pictures(tmp_path / "negatives", 4, 3),
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
    source = getattr(request_, shared) / "1.png"
    copy = request_.negatives / "again.jpg"
    Image.open(source).save(copy, quality=95)
    with pytest.raises(InputError, match=f"both in --{shared} and in --negatives") as error:
        open_request(request_, NoProgress())
    assert error.value.code == "DUPLICATE_PHOTOS"
    assert "1.png = again.jpg" in str(error.value)


def test_the_photos_themselves_are_refused(request_):
    shutil.rmtree(request_.negatives)
    shutil.copytree(request_.photos, request_.negatives)
    with pytest.raises(InputError, match="both in --photos and in --negatives: 3 pictures"):
        open_request(request_, NoProgress())
