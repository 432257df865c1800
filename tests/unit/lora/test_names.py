"""Every dialect's tensor names."""

import pytest
from lora_forensics.core.lora.names import (
    guess_family,
    ldm_to_diffusers,
    parse_name,
    unsupported_kind,
)

ATTN = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
Q, OLD = f"{ATTN}.to_q", f"{ATTN}.processor"
SELF, FC1 = (f"text_model.encoder.layers.0.{part}" for part in ("self_attn", "mlp.fc1"))
PEFT = "base_model.model"
FLAT = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize(
    ("dialect", "name", "component", "module", "slot"),
    [
        ("kohya", f"lora_unet_{FLAT}.lora_down.weight", "unet", FLAT, "down"),
        ("kohya", f"lora_unet_{FLAT}.alpha", "unet", FLAT, "alpha"),
        ("kohya", f"lora_unet_{FLAT}.dora_scale", "unet", FLAT, "dora_scale"),
        ("kohya", "lora_unet_a_conv1.lora_mid.weight", "unet", "a_conv1", "mid"),
        ("kohya", "lora_te_text_model_x.lora_up.weight", "text_encoder", "text_model_x", "up"),
        ("kohya", "lora_te1_text_model_x.alpha", "text_encoder", "text_model_x", "alpha"),
        ("kohya", "lora_te2_text_model_x.hada_w1_a", "text_encoder_2", "text_model_x", "hada_w1_a"),
        ("kohya", "lora_unet_n.w_norm", "unet", "n", "diff"),
        ("kohya", "lora_unet_n.diff_b", "unet", "n", "diff_b"),
        ("diffusers", f"unet.{Q}.lora_A.weight", "unet", Q, "down"),
        ("diffusers", f"unet.{Q}.lora.up.weight", "unet", Q, "up"),
        ("diffusers", f"unet.{OLD}.to_out_lora.down.weight", "unet", f"{ATTN}.to_out.0", "down"),
        ("diffusers", f"{OLD}.to_k_lora.up.weight", "unet", f"{ATTN}.to_k", "up"),
        (
            "diffusers",
            f"text_encoder.{SELF}.to_out_lora.up.weight",
            "text_encoder",
            f"{SELF}.out_proj",
            "up",
        ),
        (
            "diffusers",
            f"text_encoder_2.{FC1}.lora_linear_layer.up.weight",
            "text_encoder_2",
            FC1,
            "up",
        ),
        ("peft", f"{PEFT}.{Q}.lora_B.weight", "unet", Q, "up"),
        ("peft", f"{PEFT}.{Q}.lora_A.default.weight", "unet", Q, "down"),
        ("peft", f"{PEFT}.{Q}.lora_magnitude_vector.default.weight", "unet", Q, "magnitude"),
        ("peft", f"{PEFT}.{FC1}.lora_A.weight", "text_encoder", FC1, "down"),
        ("peft", f"{PEFT}.{Q}.lokr_w1", "unet", Q, "lokr_w1"),
    ],
)
def test_parse_name(dialect, name, component, module, slot):
    found = parse_name(name)
    assert found is not None
    assert (found.component, found.module) == (component, module)
    assert (found.slot, found.dialect) == (slot, dialect)


@pytest.mark.parametrize(
    "name",
    [
        "model.diffusion_model.input_blocks.0.0.weight",
        "down_blocks.0.resnets.0.conv1.weight",
        "lora_unet_x.oft_blocks",
        "alpha",
        "",
    ],
)
def test_other_names_are_not_understood(name):
    assert parse_name(name) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lora_unet_x.oft_blocks", "OFT"),
        ("base_model.model.x.oft_R.weight", "OFT"),
        ("lora_unet_x.on_input", "IA3"),
        ("base_model.model.x.ia3_l", "IA3"),
        ("lora_unet_x.a1.weight", "GLoRA"),
        ("base_model.model.x.vera_lambda_b", "VeRA"),
        ("base_model.model.x.lora_embedding_A", "embedding"),
        ("base_model.model.x.lora_B.bias", "bias"),
        ("bundle_emb.tok.string_to_param.*", "textual-inversion"),
        ("base_model.model.x.hra_u", "HRA"),
        ("lora_unet_x.wd_for_diff", "difference"),
    ],
)
def test_refused_methods_have_names(name, kind):
    assert parse_name(name) is None
    assert kind in (unsupported_kind(name) or "")


@pytest.mark.parametrize(
    ("ldm", "expected"),
    [
        ("input_blocks_0_0", "conv_in"),
        ("input_blocks_1_0_in_layers_2", "down_blocks_0_resnets_0_conv1"),
        ("input_blocks_3_0_op", "down_blocks_0_downsamplers_0_conv"),
        ("input_blocks_4_1_proj_in", "down_blocks_1_attentions_0_proj_in"),
        (
            "input_blocks_8_1_transformer_blocks_9_attn2_to_v",
            "down_blocks_2_attentions_1_transformer_blocks_9_attn2_to_v",
        ),
        ("middle_block_0_emb_layers_1", "mid_block_resnets_0_time_emb_proj"),
        (
            "middle_block_1_transformer_blocks_0_ff_net_2",
            "mid_block_attentions_0_transformer_blocks_0_ff_net_2",
        ),
        ("middle_block_2_out_layers_3", "mid_block_resnets_1_conv2"),
        ("output_blocks_2_2_conv", "up_blocks_0_upsamplers_0_conv"),
        ("output_blocks_2_1_conv", "up_blocks_0_upsamplers_0_conv"),
        ("output_blocks_5_0_skip_connection", "up_blocks_1_resnets_2_conv_shortcut"),
        ("out_2", "conv_out"),
        ("label_emb_0_2", "add_embedding_linear_2"),
        (FLAT, FLAT),
    ],
)
def test_ldm_names(ldm, expected):
    assert ldm_to_diffusers(ldm, 2) == expected


@pytest.mark.parametrize(
    ("names", "family"),
    [
        ({"lora_unet_a_attn2_to_k.lora_down.weight": (4, 768)}, "SD1.x"),
        ({"unet.a.attn2.to_k.lora_A.weight": (4, 1024)}, "SD2.x"),
        ({"lora_unet_a_attn2_to_k.lora_down.weight": (4, 2048)}, "SDXL"),
        ({"lora_te2_text_model_x.alpha": ()}, "SDXL"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.alpha": ()}, "Flux"),
        ({"lora_unet_joint_blocks_0_x.alpha": ()}, "SD3"),
        ({"unet.x.lora_A.weight": (4, 8)}, "unknown"),
    ],
)
def test_families(names, family):
    assert guess_family(names) == family
