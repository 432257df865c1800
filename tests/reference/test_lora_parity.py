"""Weight changes must be those that diffusers and peft make from the same file."""

import copy
import json

import pytest
import tiny_models
import torch
from lora_forensics.core.lora.binding import bind, check_deltas
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.operators import Hadamard, Kronecker, LowRank, delta
from safetensors.torch import load_file, save_file

diffusers = pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")

RELATIVE = 1e-6
LINEAR = ["to_q", "to_k", "to_v", "to_out.0"]
CONV = ["conv1", "conv_shortcut", "proj_in"]


@pytest.fixture(scope="module")
def base_unet():
    return tiny_models.tiny_pipeline().unet


@pytest.fixture(scope="module")
def base_text():
    return tiny_models.tiny_pipeline().text_encoder


def weights_of(model):
    return {
        name.removesuffix(".weight"): value.detach()
        for name, value in model.named_parameters()
        if name.endswith(".weight")
    }


def shapes_of(weights):
    return {
        part: {name: tuple(value.shape) for name, value in found.items()}
        for part, found in weights.items()
    }


def merged_weight(model, name):
    module = model.get_submodule(name)
    return getattr(module, "base_layer", module).weight.detach()


def assert_parity(path, before, merged, *, expect=None):
    """Every changed module matches, and every unbound module was left alone by the reference."""
    lora = read_lora(path)
    weights = {part: weights_of(model) for part, model in before.items()}
    binding = bind(lora, shapes_of(weights))
    assert not binding.unmatched
    check_deltas(binding, weights)
    touched = set()
    for part, name, operator in binding.pairs:
        base = weights[part][name]
        ours, theirs = delta(operator, base), merged_weight(merged[part], name) - base
        assert ours.dtype == torch.float32
        assert ours.shape == base.shape
        assert theirs.norm() > 0
        assert (ours - theirs).norm() <= RELATIVE * max(theirs.norm(), base.norm()), name
        touched.add((part, name))
        if expect is not None:
            assert isinstance(operator, expect)
    for part, found in weights.items():
        for name, base in found.items():
            if (part, name) not in touched:
                assert torch.equal(merged_weight(merged[part], name), base), name
    return lora


def randomise(model, marks=("lora_", "hada_", "lokr_")):
    """Random factors of a size that gives a change comparable to the weights."""
    generator = torch.Generator().manual_seed(3)
    for name, value in model.named_parameters():
        if "magnitude" in name:
            value.data *= 0.5 + torch.rand(value.shape, generator=generator)
        elif any(mark in name for mark in marks):
            value.data = torch.randn(value.shape, generator=generator) * 0.1


def peft_round_trip(base, config, folder, *, component="unet"):
    model = peft.get_peft_model(copy.deepcopy(base), config)
    randomise(model)
    model.save_pretrained(folder)
    merged = model.merge_and_unload()
    return assert_parity(
        folder / "adapter_model.safetensors", {component: base}, {component: merged}
    )


PEFT_CONFIGS = {
    "linear": {"target_modules": LINEAR, "r": 4, "lora_alpha": 6},
    "conv": {"target_modules": CONV, "r": 3, "lora_alpha": 2},
    "rslora": {"target_modules": LINEAR, "r": 4, "lora_alpha": 6, "use_rslora": True},
    "patterns": {
        "target_modules": LINEAR + CONV,
        "r": 4,
        "lora_alpha": 6,
        "rank_pattern": {"to_q": 2, "conv1": 5},
        "alpha_pattern": {"attn1.to_k": 9, "to_out.0": 1},
    },
    "dora-linear": {"target_modules": LINEAR, "r": 4, "lora_alpha": 6, "use_dora": True},
    "dora-conv": {"target_modules": CONV, "r": 4, "lora_alpha": 6, "use_dora": True},
}


@pytest.mark.parametrize("settings", PEFT_CONFIGS.values(), ids=PEFT_CONFIGS)
def test_peft_lora_equals_merge_and_unload(base_unet, tmp_path, settings):
    lora = peft_round_trip(base_unet, peft.LoraConfig(**settings), tmp_path)
    assert lora.format == "peft"
    assert lora.warnings == ()


def test_peft_text_encoder(base_text, tmp_path):
    config = peft.LoraConfig(target_modules=["q_proj", "fc1"], r=2, lora_alpha=5)
    peft_round_trip(base_text, config, tmp_path, component="text_encoder")


def test_peft_without_its_settings_assumes_alpha_and_says_so(base_unet, tmp_path):
    config = peft.LoraConfig(target_modules=LINEAR, r=4, lora_alpha=4)
    model = peft.get_peft_model(copy.deepcopy(base_unet), config)
    randomise(model)
    model.save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    path = tmp_path / "adapter_model.safetensors"
    lora = assert_parity(path, {"unet": base_unet}, {"unet": model.merge_and_unload()})
    assert "alpha = rank was assumed" in lora.warnings[0]


@pytest.mark.parametrize("effective", [False, True], ids=["flat", "tucker"])
def test_peft_loha(base_unet, tmp_path, effective):
    config = peft.LoHaConfig(
        target_modules=LINEAR + CONV, r=3, alpha=5, use_effective_conv2d=effective
    )
    peft_round_trip(base_unet, config, tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 2, "alpha": 3},
        {"r": 2, "alpha": 3, "use_effective_conv2d": True},
        {"r": 2, "alpha": 3, "decompose_both": True, "decompose_factor": 4},
        {"r": 64, "alpha": 32},
    ],
    ids=["flat", "tucker", "both", "whole"],
)
def test_peft_lokr(base_unet, tmp_path, settings):
    config = peft.LoKrConfig(target_modules=LINEAR + CONV, **settings)
    peft_round_trip(base_unet, config, tmp_path)


def fused(path):
    pipe = tiny_models.tiny_pipeline()
    pipe.load_lora_weights(str(path.parent), weight_name=path.name)
    pipe.fuse_lora()
    return {"unet": pipe.unet, "text_encoder": pipe.text_encoder}


def kohya_tensors(targets, rank, alpha):
    """``targets``: kohya name -> base weight."""
    generator = torch.Generator().manual_seed(4)
    tensors = {}
    for name, weight in targets.items():
        out, inner, *kernel = weight.shape
        ones = [1] * len(kernel)
        down = torch.randn(rank, inner, *kernel, generator=generator)
        tensors[f"{name}.lora_down.weight"] = down * 0.1
        tensors[f"{name}.lora_up.weight"] = torch.randn(out, rank, *ones, generator=generator) * 0.3
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    return tensors


def targets_of(model, endings, prefix):
    return {
        prefix + name.replace(".", "_"): weight
        for name, weight in weights_of(model).items()
        if name.endswith(tuple(endings))
    }


@pytest.mark.parametrize("alpha", [1, 4, 7.5, None])
def test_kohya_equals_diffusers_fuse(base_unet, base_text, tmp_path, alpha):
    path = tmp_path / "kohya.safetensors"
    tensors = kohya_tensors(targets_of(base_unet, LINEAR, "lora_unet_"), 4, alpha)
    text = targets_of(base_text, ["q_proj", "out_proj", "fc1", "fc2"], "lora_te_")
    prefix = "" if any("text_model" in name for name in text) else "text_model_"
    text = {name.replace("lora_te_", f"lora_te_{prefix}"): value for name, value in text.items()}
    save_file(tensors | kohya_tensors(text, 4, alpha), path)
    before = {"unet": base_unet, "text_encoder": base_text}
    lora = assert_parity(path, before, fused(path), expect=LowRank)
    assert {module.component for module in lora.modules} == {"unet", "text_encoder"}
    assert lora.format == "kohya"


def test_kohya_conv_equals_diffusers_fuse(base_unet, tmp_path):
    path = tmp_path / "locon.safetensors"
    endings = ["conv1", "conv2", "proj_in", "proj_out", "time_emb_proj", "ff.net.0.proj"]
    save_file(kohya_tensors(targets_of(base_unet, endings, "lora_unet_"), 3, 2), path)
    before = {"unet": base_unet}
    assert_parity(path, before, fused(path))


def test_kohya_dora_equals_peft_dora(base_unet, tmp_path):
    """The same numbers under kohya's names; diffusers drops ``dora_scale``, so peft is asked."""
    config = peft.LoraConfig(target_modules=LINEAR + CONV, r=4, lora_alpha=6, use_dora=True)
    model = peft.get_peft_model(copy.deepcopy(base_unet), config)
    randomise(model)
    tensors = {}
    for name, value in peft.get_peft_model_state_dict(model).items():
        module, _, slot = name.removeprefix("base_model.model.").partition(".lora_")
        flat = "lora_unet_" + module.replace(".", "_")
        if slot.startswith("magnitude"):
            ones = [1] * (base_unet.get_submodule(module).weight.ndim - 1)
            tensors[f"{flat}.dora_scale"] = value.flatten().reshape(-1, *ones)
            tensors[f"{flat}.alpha"] = torch.tensor(6.0)
        else:
            tensors[f"{flat}.lora_{'down' if slot[0] == 'A' else 'up'}.weight"] = value
    path = tmp_path / "dora.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    lora = assert_parity(path, {"unet": base_unet}, {"unet": model.merge_and_unload()})
    assert all(module.operator.magnitude is not None for module in lora.modules)


LDM_NAMES = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": "input_blocks_1_1_"
    "transformer_blocks_0_attn1_to_q",
    "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_v": "output_blocks_3_1_"
    "transformer_blocks_0_attn2_to_v",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k": "middle_block_1_"
    "transformer_blocks_0_attn2_to_k",
}


def test_original_ldm_names_equal_diffusers_fuse(base_unet, tmp_path):
    path = tmp_path / "ldm.safetensors"
    weights = weights_of(base_unet)
    targets = {f"lora_unet_{ldm}": weights[name] for name, ldm in LDM_NAMES.items()}
    save_file(kohya_tensors(targets, 4, 2), path)
    pipe = tiny_models.tiny_pipeline()
    loader = diffusers.StableDiffusionXLPipeline
    state, alphas = loader.lora_state_dict(load_file(path), unet_config=pipe.unet.config)
    pipe.load_lora_into_unet(state, network_alphas=alphas, unet=pipe.unet)
    pipe.unet.fuse_lora()
    assert_parity(path, {"unet": base_unet}, {"unet": pipe.unet})


@pytest.mark.parametrize("with_metadata", [True, False])
def test_diffusers_file_equals_diffusers_fuse(base_unet, base_text, tmp_path, with_metadata):
    pipe = tiny_models.tiny_pipeline()
    alpha = 6 if with_metadata else 4
    config = peft.LoraConfig(target_modules=[*LINEAR, "conv1"], r=4, lora_alpha=alpha)
    pipe.unet.add_adapter(config)
    pipe.text_encoder.add_adapter(
        peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=4, lora_alpha=alpha)
    )
    randomise(pipe.unet)
    randomise(pipe.text_encoder)
    extra = {}
    if with_metadata:
        extra["unet_lora_adapter_metadata"] = pipe.unet.peft_config["default"].to_dict()
        extra["text_encoder_lora_adapter_metadata"] = pipe.text_encoder.peft_config[
            "default"
        ].to_dict()
    diffusers.StableDiffusionPipeline.save_lora_weights(
        str(tmp_path),
        unet_lora_layers=peft.get_peft_model_state_dict(pipe.unet),
        text_encoder_lora_layers=peft.get_peft_model_state_dict(pipe.text_encoder),
        **extra,
    )
    path = tmp_path / "pytorch_lora_weights.safetensors"
    before = {"unet": base_unet, "text_encoder": base_text}
    lora = assert_parity(path, before, fused(path))
    assert lora.format == "diffusers"


def test_old_attention_processor_names_equal_diffusers_fuse(base_unet, tmp_path):
    path = tmp_path / "old.safetensors"
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for name, weight in weights_of(base_unet).items():
        if not name.endswith(("attn1.to_q", "attn2.to_out.0")):
            continue
        parent, _, target = name.removesuffix(".0").rpartition(".")
        stem = f"unet.{parent}.processor.{target}_lora"
        out, inner = weight.shape
        tensors[f"{stem}.down.weight"] = torch.randn(4, inner, generator=generator) * 0.1
        tensors[f"{stem}.up.weight"] = torch.randn(out, 4, generator=generator)
    save_file(tensors, path)
    assert_parity(path, {"unet": base_unet}, fused(path))


def test_lycoris_files_follow_the_published_formulas(base_unet, tmp_path):
    """LoHa and LoKr in LyCORIS' own spelling, against the formulas written out here."""
    path = tmp_path / "lycoris.safetensors"
    generator = torch.Generator().manual_seed(6)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    conv = "down_blocks.0.resnets.0.conv1"
    loha = {k: random(*s) for k, s in {"w1_a": (32, 2), "w1_b": (2, 32)}.items()}
    loha |= {k: random(*s) for k, s in {"w2_a": (32, 2), "w2_b": (2, 32)}.items()}
    lokr = {"w1": random(8, 4), "w2_a": random(4, 3), "w2_b": random(3, 8 * 9)}
    flat, flat_conv = (f"lora_unet_{n.replace('.', '_')}" for n in (name, conv))
    tensors = {f"{flat}.hada_{k}": v for k, v in loha.items()}
    tensors |= {f"{flat_conv}.lokr_{k}": v for k, v in lokr.items()}
    tensors |= {f"{n}.alpha": torch.tensor(1.5) for n in (flat, flat_conv)}
    save_file(tensors, path)
    weights = {"unet": weights_of(base_unet)}
    binding = bind(read_lora(path), shapes_of(weights))
    found = {pair.module: pair.operator for pair in binding.pairs}
    assert isinstance(found[name], Hadamard)
    assert isinstance(found[conv], Kronecker)
    expected = 0.75 * (loha["w1_a"] @ loha["w1_b"]) * (loha["w2_a"] @ loha["w2_b"])
    torch.testing.assert_close(delta(found[name], weights["unet"][name]), expected)
    w2 = (lokr["w2_a"] @ lokr["w2_b"]).reshape(4, 8, 3, 3)
    expected = torch.zeros(32, 32, 3, 3)
    for i in range(8):
        for j in range(4):
            expected[i * 4 : i * 4 + 4, j * 8 : j * 8 + 8] = 0.5 * lokr["w1"][i, j] * w2
    torch.testing.assert_close(delta(found[conv], weights["unet"][conv]), expected)


def test_settings_file_keys_we_read_are_those_peft_writes(base_unet, tmp_path):
    config = peft.LoraConfig(target_modules=LINEAR, r=4, lora_alpha=6)
    peft.get_peft_model(copy.deepcopy(base_unet), config).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora"} <= set(written)
