"""Valid files with wrong meaning: alpha rules, pairs, ranks, binding to a base, size of changes."""

import json
import math

import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.lora.binding import bind, check_deltas
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.operators import Full, LowRank, delta
from safetensors.torch import save_file

NAMES = [f"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_{x}" for x in "qkv"]
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
BASE = {"unet": dict.fromkeys(NAMES, (6, 4)), "text_encoder": {TEXT: (5, 5)}}
CONV_BASE = {"unet": {"down_blocks.0.resnets.0.conv1": (6, 4, 3, 3)}}


def kohya(name=NAMES[0], rank=2, out=6, inner=4, alpha=None, prefix="lora_unet_"):
    flat = prefix + name.replace(".", "_")
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{flat}.lora_down.weight": torch.randn(rank, inner, generator=generator),
        f"{flat}.lora_up.weight": torch.randn(out, rank, generator=generator),
    }
    return tensors | ({} if alpha is None else {f"{flat}.alpha": torch.tensor(alpha)})


def write(folder, tensors, metadata=None):
    path = folder / "a.safetensors"
    save_file(tensors, path, metadata)
    return path


def code_of(call):
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(
    ("alpha", "scale"), [(None, 1.0), (2.0, 1.0), (1.0, 0.5), (-4.0, -2.0), (0.0, 0.0)]
)
def test_alpha_scales_by_rank(tmp_path, alpha, scale):
    lora = read_lora(write(tmp_path, kohya(alpha=alpha)))
    assert lora.modules[0].operator.scale == scale
    assert any("negative" in note for note in lora.warnings) == (scale < 0)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, 1e30, -2e6])
def test_absurd_alpha(tmp_path, alpha):
    assert code_of(lambda: read_lora(write(tmp_path, kohya(alpha=alpha)))) == "BAD_ALPHA"


def test_alpha_with_many_numbers(tmp_path):
    tensors = kohya() | {f"lora_unet_{NAMES[0].replace('.', '_')}.alpha": torch.ones(2)}
    assert code_of(lambda: read_lora(write(tmp_path, tensors))) == "BAD_ALPHA"


def without(tensors, ending):
    return {name: value for name, value in tensors.items() if not name.endswith(ending)}


F = "lora_unet_x"
R = torch.randn
HADA = {f"{F}.hada_w{i}_{s}": R(*d) for i in "12" for s, d in (("a", (6, 2)), ("b", (2, 4)))}


def lora_of(down, up):
    return {f"{F}.lora_down.weight": down, f"{F}.lora_up.weight": up}


def lokr_of(**factors):
    return {f"{F}.lokr_{name}": value for name, value in factors.items()}


REFUSED = {
    "down alone": (without(kohya(), "up.weight"), "UNPAIRED"),
    "up alone": (without(kohya(), "down.weight"), "UNPAIRED"),
    "alpha alone": ({f"{F}.alpha": torch.tensor(1.0)}, "UNPAIRED"),
    "ranks differ": (lora_of(R(2, 4), R(6, 3)), "RANK_MISMATCH"),
    "3 axes": (lora_of(R(2, 4, 1), R(6, 2)), "BAD_SHAPE"),
    "wide up": (lora_of(R(2, 4, 3, 3), R(6, 2, 3, 3)), "BAD_SHAPE"),
    "Tucker rank": (
        lora_of(R(2, 4, 1, 1), R(6, 2, 1, 1)) | {f"{F}.lora_mid.weight": R(2, 3, 3, 3)},
        "RANK_MISMATCH",
    ),
    "NaN": (lora_of(R(2, 4) * math.nan, R(6, 2)), "NON_FINITE"),
    "inf": ({f"{F}.diff": torch.full((2, 2), math.inf)}, "NON_FINITE"),
    "integers": (lora_of(torch.ones(2, 4, dtype=torch.int8), R(6, 2)), "BAD_DTYPE"),
    "checkpoint": ({"model.diffusion_model.input_blocks.0.0.weight": R(2, 2)}, "NOT_A_LORA"),
    "diffusers checkpoint": ({"down_blocks.0.resnets.0.conv1.weight": R(2, 2)}, "NOT_A_LORA"),
    "something else": ({"classifier.weight": R(2, 2)}, "NOT_A_LORA"),
    "OFT": ({f"{F}.oft_blocks": R(2, 2, 2)}, "UNSUPPORTED_OP"),
    "IA3": ({f"{F}.weight": R(2), f"{F}.on_input": torch.zeros(1)}, "UNSUPPORTED_OP"),
    "leftover": (kohya() | {"conv_in.weight": R(2, 2)}, "UNSUPPORTED_OP"),
    "two methods": (kohya("x") | {f"{F}.diff": R(6, 4)}, "AMBIGUOUS"),
    "half LoHa": (without(HADA, "w2_b"), "UNPAIRED"),
    "half Tucker LoHa": (HADA | {f"{F}.hada_t1": R(2, 2, 3, 3)}, "UNPAIRED"),
    "half LoKr": ({f"{F}.lokr_w1": R(2, 2)}, "UNPAIRED"),
    "LoKr twice": (lokr_of(w1=R(2, 2), w1_a=R(2, 1), w2=R(2, 2)), "AMBIGUOUS"),
    "outer-product bomb": (lora_of(torch.zeros(1, 2**17), torch.zeros(2**17, 1)), "BAD_SHAPE"),
    "LoKr bomb": (
        lokr_of(w1=torch.zeros(2, 2), w2_a=torch.zeros(2**17, 1), w2_b=torch.zeros(1, 2**17)),
        "BAD_SHAPE",
    ),
    "mixed dialects on one tensor": (
        kohya()
        | {f"unet.{NAMES[0]}.lora_A.weight": R(2, 4), f"unet.{NAMES[0]}.lora_B.weight": R(6, 2)},
        "AMBIGUOUS",
    ),
}


@pytest.mark.parametrize(("tensors", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_meanings(tmp_path, tensors, code):
    assert code_of(lambda: read_lora(write(tmp_path, tensors))) == code


def test_offenders_are_listed_up_to_twenty(tmp_path):
    tensors = {f"lora_unet_x{i}.lora_down.weight": R(2, 4) for i in range(30)}
    with pytest.raises(InputError, match="30 modules") as caught:
        read_lora(write(tmp_path, tensors))
    assert str(caught.value).count("lacks ['up']") == 20


def peft_file(folder, config):
    stem = f"base_model.model.{NAMES[0]}"
    path = write(folder, {f"{stem}.lora_A.weight": R(4, 4), f"{stem}.lora_B.weight": R(6, 4)})
    (folder / "adapter_config.json").write_bytes(
        config if isinstance(config, bytes) else json.dumps(config).encode()
    )
    return path


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"r": 4, "lora_alpha": 8}, 2.0),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"r": 8, "lora_alpha": 8, "rank_pattern": {"to_q": 4}}, 2.0),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 2, "q": 9}}, 0.5),
        ({"r": 4}, 1.0),
    ],
)
def test_peft_settings(tmp_path, config, scale):
    assert read_lora(peft_file(tmp_path, config)).modules[0].operator.scale == scale


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"r": 2, "lora_alpha": 8}, "RANK_MISMATCH"),
        ({"r": 4, "lora_alpha": 1e9}, "BAD_ALPHA"),
        ({"r": 4, "lora_alpha": "8"}, "MALFORMED_HEADER"),
        ({"peft_type": "IA3"}, "UNSUPPORTED_OP"),
        ({"r": 4, "fan_in_fan_out": True}, "UNSUPPORTED_OP"),
        ({"r": 4, "init_lora_weights": "pissa_niter_4"}, "UNSUPPORTED_OP"),
        ({"r": 4, "alpha_pattern": {"(a+)+$": 1}}, "UNSUPPORTED_OP"),
        ([], "MALFORMED_HEADER"),
        (b'{"r":4,"r":8}', "DUPLICATE_KEY"),
        (b'{"r":NaN}', "MALFORMED_HEADER"),
        (b"{}" + b" " * 1_000_001, "MALFORMED_HEADER"),
    ],
)
def test_bad_peft_settings(tmp_path, config, code):
    assert code_of(lambda: read_lora(peft_file(tmp_path, config))) == code


def test_binding_resolves_underscores_and_text_prefix(tmp_path):
    text = kohya(TEXT, out=5, inner=5, prefix="lora_te_")
    lora = read_lora(write(tmp_path, kohya() | text))
    for name in (TEXT, TEXT.removeprefix("text_model.")):
        binding = bind(lora, {"unet": BASE["unet"], "text_encoder": {name: (5, 5)}})
        assert {pair.module for pair in binding.pairs} == {NAMES[0], name}
    coverage = {part.component: part for part in binding.coverage}
    assert (coverage["unet"].matched, coverage["unet"].base_total) == (1, 3)
    alone = read_lora(write(tmp_path, kohya()))
    assert bind(alone, BASE).warnings == ("the adapter does not change the text_encoder.",)


def many(count, missing):
    names = [f"down_blocks.0.x{i}.to_q" for i in range(count)]
    tensors = {}
    for name in names:
        tensors |= kohya(name)
    return tensors, {"unet": dict.fromkeys(names[missing:], (6, 4))}


def test_five_percent_may_be_missing_with_a_warning(tmp_path):
    tensors, base = many(20, 1)
    binding = bind(read_lora(write(tmp_path, tensors)), base)
    assert len(binding.unmatched) == 1
    assert any("1 module without a place" in warning for warning in binding.warnings)
    tensors, base = many(20, 2)
    assert code_of(lambda: bind(read_lora(write(tmp_path, tensors)), base)) == "WRONG_BASE"


def test_shapes_of_another_base(tmp_path):
    lora = read_lora(write(tmp_path, kohya(inner=7)))
    with pytest.raises(InputError, match=r"adapter \[6, 7\], base \[6, 4\]") as caught:
        bind(lora, BASE)
    assert caught.value.code == "WRONG_BASE"


def test_nothing_matches_names_the_family(tmp_path):
    lora = read_lora(write(tmp_path, kohya("double_blocks.0.img_attn.proj")))
    with pytest.raises(InputError, match="looks like Flux") as caught:
        bind(lora, BASE)
    assert caught.value.code == "NOT_APPLIED"


def test_zero_changes_are_not_applied(tmp_path):
    for tensors in (kohya(alpha=0.0), {k: v * 0 for k, v in kohya().items()}):
        lora = read_lora(write(tmp_path, tensors))
        assert code_of(lambda lora=lora: bind(lora, BASE)) == "NOT_APPLIED"


def test_two_writers_through_two_spellings(tmp_path):
    base = {"unet": {"down_blocks.0.attentions.0.proj_in": (6, 4)}}
    tensors = kohya("down_blocks.0.attentions.0.proj_in") | kohya("input_blocks.1.1.proj_in")
    assert code_of(lambda: bind(read_lora(write(tmp_path, tensors)), base)) == "AMBIGUOUS"


def test_one_underscored_name_that_fits_two_base_modules(tmp_path):
    lora = read_lora(write(tmp_path, kohya("a.b.c")))
    assert code_of(lambda: bind(lora, {"unet": {"a.b_c": (6, 4), "a_b.c": (6, 4)}})) == "AMBIGUOUS"


def test_delta_norms_and_limits(tmp_path):
    weights = {"unet": {name: torch.ones(6, 4) for name in NAMES}}
    lora = read_lora(write(tmp_path, kohya()))
    binding = bind(lora, {"unet": BASE["unet"]})
    (check,) = check_deltas(binding, weights)
    change = delta(lora.modules[0].operator, weights["unet"][NAMES[0]])
    assert check.delta_norm == pytest.approx(float(change.norm()))
    assert check.relative == pytest.approx(float(change.norm()) / 24**0.5)
    small = {"unet": {name: torch.ones(6, 4) * 1e-3 for name in NAMES}}
    assert code_of(lambda: check_deltas(binding, small)) == "OVERFLOW"
    huge = {name: value * 1e4 for name, value in kohya().items()}
    binding = bind(read_lora(write(tmp_path, huge)), {"unet": BASE["unet"]})
    large = {"unet": {name: torch.ones(6, 4) * 1e9 for name in NAMES}}
    assert code_of(lambda: check_deltas(binding, large)) == "OVERFLOW"
    huge = {name: value * 1e30 for name, value in kohya().items()}
    binding = bind(read_lora(write(tmp_path, huge)), {"unet": BASE["unet"]})
    assert code_of(lambda: check_deltas(binding, large)) == "NON_FINITE"


def test_full_difference_with_and_without_bias(tmp_path):
    flat = "lora_unet_" + NAMES[0].replace(".", "_")
    path = write(tmp_path, {f"{flat}.diff": torch.ones(6, 4), f"{flat}.diff_b": torch.ones(6)})
    operator = read_lora(path).modules[0].operator
    assert isinstance(operator, Full)
    assert torch.equal(delta(operator, torch.zeros(6, 4)), torch.ones(6, 4))
    lora = read_lora(write(tmp_path, {f"{flat}.diff_b": torch.ones(6)}))
    weights = {"unet": {name: torch.ones(6, 4) for name in NAMES}}
    (check,) = check_deltas(bind(lora, {"unet": BASE["unet"]}), weights)
    assert check.delta_norm == pytest.approx(6**0.5)
    lora = read_lora(write(tmp_path, {f"{flat}.diff_b": torch.ones(5)}))
    assert code_of(lambda: bind(lora, {"unet": BASE["unet"]})) == "WRONG_BASE"


def test_half_precision_is_computed_in_fp32(tmp_path):
    tensors = {name: value.half() for name, value in kohya().items()}
    operator = read_lora(write(tmp_path, tensors)).modules[0].operator
    assert isinstance(operator, LowRank)
    change = delta(operator, torch.zeros(6, 4, dtype=torch.float16))
    assert change.dtype == torch.float32
    assert torch.equal(change, operator.up.float() @ operator.down.float())


def test_conv_with_flat_and_tucker_factors(tmp_path):
    name = "lora_unet_down_blocks_0_resnets_0_conv1"
    up, mid, down = R(6, 2, 1, 1), R(2, 2, 3, 3), R(2, 4, 1, 1)
    factors = {"up": up, "mid": mid, "down": down}
    path = write(tmp_path, {f"{name}.lora_{k}.weight": v for k, v in factors.items()})
    (pair,) = bind(read_lora(path), CONV_BASE).pairs
    x = R(1, 4, 5, 5)
    conv = torch.nn.functional.conv2d
    expected = conv(conv(conv(x, down), mid, padding=1), up)
    ours = conv(x, delta(pair.operator, torch.zeros(6, 4, 3, 3)), padding=1)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
