"""A tiny random BLIP as a local folder, as users bring it."""

from pathlib import Path

import torch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
WORDS = ["a", "headshot", "of", "dtu", *(f"w{i}" for i in range(30))]


def write_blip(folder: Path) -> Path:
    """All files of the published folder, with random weights."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
    )

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = BertTokenizerFast(vocab=vocabulary, bos_token="[DEC]")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = BlipConfig(
        text_config={
            **small,
            "num_attention_heads": 2,
            "vocab_size": 40,
            "encoder_hidden_size": 16,
            "bos_token_id": 5,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "sep_token_id": 3,
            "max_position_embeddings": 32,
        },
        vision_config={**small, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(config)
    for weight in model.parameters():
        weight.data.mul_(4)
    model.text_decoder.cls.predictions.bias.data[: len(SPECIAL)] = -100
    model.save_pretrained(folder)
    # The published folder's files: transformers 5 would write one processor_config.json.
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
