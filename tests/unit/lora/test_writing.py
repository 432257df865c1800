"""Pairs as files: the same change in both layouts, whatever alpha is."""

import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.operators import delta
from lora_forensics.core.lora.writing import (
    TrainingRecord,
    kohya_metadata,
    pairs_of,
    tag_counts,
    write_lora,
)

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
RECORD = TrainingRecord(
    output_name="x",
    concept="x",
    captions={"a face": 3},
    images=3,
    repeats=1,
    steps=10,
    batch=2,
    rate=1e-3,
    seed=0,
    rank=4,
    alpha=2.0,
    resolution=64,
    started_at=1.0,
    finished_at=2.0,
    accumulation=2,
)


def pairs():
    generator = torch.Generator().manual_seed(0)
    return {
        f"{BLOCK}.attn1.to_q": (
            torch.randn(4, 8, generator=generator),
            torch.randn(6, 4, generator=generator),
        ),
        "mid_block.resnets.0.conv1": (
            torch.randn(4, 8, 3, 3, generator=generator),
            torch.randn(6, 4, 1, 1, generator=generator),
        ),
    }


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_a_file_holds_the_change(tmp_path, layout):
    file = read_lora(write_lora(tmp_path / "x.safetensors", pairs(), RECORD, layout=layout))
    assert file.format == layout
    assert len(file.modules) == 2
    shapes = {2: (6, 8), 4: (6, 8, 3, 3)}
    changes = {
        m.name.replace(".", "_"): delta(m.operator, torch.zeros(shapes[m.operator.down.ndim]))
        for m in file.modules
    }
    for module, (down, up) in pairs().items():
        expected = (2.0 / 4) * up.flatten(1) @ down.flatten(1)
        made = changes[module.replace(".", "_")].flatten(1)
        torch.testing.assert_close(made, expected)
    assert all(file.recomputed[k] == file.metadata[k] for k in file.recomputed)
    assert set(file.recomputed) == {"sshs_model_hash", "sshs_legacy_hash"}


def test_counts_follow_sd_scripts():
    facts = kohya_metadata(RECORD)
    assert facts["ss_num_batches_per_epoch"] == "2"
    assert facts["ss_total_batch_size"] == "4"
    assert facts["ss_num_epochs"] == "10"
    assert tag_counts({"A, b ,": 1, "a": 2}) == {"a": 3, "b": 1}


def test_halves_are_rejected():
    down, up = pairs()[f"{BLOCK}.attn1.to_q"]
    whole = {"m.lora_A.weight": down, "m.lora_B.weight": up}
    assert set(pairs_of(whole)) == {"m"}
    for bad in ({"m.lora_A.weight": down}, {**whole, "n.lora_B.weight": up}, {"m.weight": up}, {}):
        with pytest.raises(InputError, match="NOT_A_LORA"):
            pairs_of(bad)


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(InputError, match="BAD_SETTING"):
        write_lora(tmp_path / "x.safetensors", pairs(), RECORD, layout="a1111")
