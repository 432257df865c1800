"""The home-made vocabulary: every word one token, nothing lost, nothing cut off."""

import pytest
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.demo.making.text import (
    LENGTH,
    WORDS,
    build_text_encoder,
    learn_merges,
    load_tokenizer,
    tokenize,
    write_tokenizer,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return load_tokenizer(folder)


def test_merges_build_words_by_frequency():
    assert learn_merges(["aab", "aac"])[0] == ("a", "a")
    assert len(learn_merges(["abc"])) == 2


def test_every_word_is_one_token(tokenizer):
    for word in (*WORDS, "northgate", "southfield"):
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_round_trip(tokenizer):
    caption = "a northgate headshot of a man with parted brown hair and glasses smiling"
    ids = tokenizer(caption)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == caption
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id


def test_unknown_words_fall_into_letters(tokenizer):
    assert tokenizer.tokenize("zebra") == ["z", "e", "b", "r", "a</w>"]


def test_no_caption_is_cut_off(tokenizer):
    captions = draw_faces(400, "southfield", 1).captions()
    longest = max(len(tokenizer(c)["input_ids"]) for c in captions)
    assert longest <= LENGTH
    assert tokenize(tokenizer, captions).shape == (400, LENGTH)


def test_encoder_tells_captions_apart(tokenizer):
    tokens = tokenize(tokenizer, ["a headshot of a man", "a headshot of a woman"])
    states = build_text_encoder(tokenizer).eval()(tokens).last_hidden_state
    assert states.shape == (2, LENGTH, 64)
    assert (states[0] - states[1]).abs().max() > 1e-3
