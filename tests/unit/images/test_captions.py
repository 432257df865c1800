"""Captions equal transformers' own; files of captions are read strictly."""

import json

import pytest
from lora_forensics.core.errors import InputError, MissingWeightsError, UnsafeFileError
from lora_forensics.core.images.captions import (
    caption,
    captions_of,
    load_captions,
    save_captions,
)
from lora_forensics.core.images.photos import to_picture
from lora_forensics.core.sampling.plans import noise_of
from tiny_blip import write_blip


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return write_blip(tmp_path_factory.mktemp("blip"))


def images(n=3):
    return [noise_of(i, (3, 40, 48)).sigmoid() for i in range(n)]


@pytest.mark.parametrize("prefix", ["", "a dtu headshot of a"])
def test_captions_are_transformers_own(blip, prefix):
    from transformers import BlipForConditionalGeneration, BlipProcessor

    model = BlipForConditionalGeneration.from_pretrained(blip).eval()
    processor = BlipProcessor.from_pretrained(blip)
    expected = []
    for image in images():
        given = {"text": prefix} if prefix else {}
        inputs = processor(to_picture(image), return_tensors="pt", **given)
        ids = model.generate(**inputs)
        expected.append(processor.decode(ids[0], skip_special_tokens=True))
    made = caption(images(), blip, prefix=prefix)
    assert made == expected
    assert all(made)
    if prefix:
        assert [text[: len(prefix)] for text in made] == [prefix] * 3


def test_progress_counts_images(blip):
    class Count:
        total = steps = 0

        def start(self, task, total, done=0):
            self.total = total

        def step(self, n=1):
            self.steps += n

    count = Count()
    caption(images(2), blip, progress=count)
    assert (count.total, count.steps) == (2, 2)


def test_missing_weights_say_what_to_put_where(blip, tmp_path):
    with pytest.raises(MissingWeightsError) as error:
        caption(images(1), tmp_path)
    assert error.value.code == "NO_BLIP"
    assert "Salesforce/blip-image-captioning-large" in str(error.value)
    assert "model.safetensors" in str(error.value)
    assert "http" not in str(error.value)


def test_pickled_weights_are_not_opened(blip, tmp_path):
    for file in blip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UnsafeFileError):
        caption(images(1), tmp_path)


def test_captions_survive_the_file(tmp_path):
    captions = {"b.png": 'a "man", of', "a.jpg": "жінка\nin two lines"}
    path = save_captions(captions, tmp_path / "metadata.jsonl")
    assert load_captions(path) == captions
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"file_name": "b.png", "text": 'a "man", of'}
    assert captions_of(["a.jpg"], captions) == [captions["a.jpg"]]


BAD = [
    '["a.png", "text"]',
    '{"file_name": "a.png"}',
    '{"file_name": "a.png", "text": 3}',
    '{"file_name": "", "text": "x"}',
    '{"file_name": "a.png", "text": "x", "text": "y"}',
    '{"file_name": "a.png", "text": "x"}\n{"file_name": "a.png", "text": "y"}',
    '{"file_name": "a.png", "text": "' + "x" * 5000 + '"}',
    "not json",
    "\n\n",
]


@pytest.mark.parametrize("text", BAD)
def test_bad_lines_are_named(tmp_path, text):
    path = tmp_path / "metadata.jsonl"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_captions(path)
    assert error.value.code == "BAD_CAPTIONS"


def test_missing_captions_are_named(tmp_path):
    with pytest.raises(InputError, match="MISSING_CAPTIONS"):
        load_captions(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"b\.png") as error:
        captions_of(["a.png", "b.png"], {"a.png": "x"})
    assert error.value.code == "CAPTION_COUNT"
