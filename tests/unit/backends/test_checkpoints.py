"""Single-file checkpoints: written in the original layout, read back to the same networks."""

import json

import pytest
import tiny_models
import torch
from diffusers import UNet2DConditionModel
from ldm_layout import save_checkpoint, unet_name
from lora_forensics.core.backends import vocabulary
from lora_forensics.core.backends.checkpoints import unet_config_of
from lora_forensics.core.backends.families import FAMILIES, UNET
from lora_forensics.core.backends.loading import load_base, open_pair
from lora_forensics.core.errors import InputError, MissingWeightsError
from safetensors.torch import load_file, save_file


def with_tokenizer(folder):
    """Tiny vocabulary beside the checkpoint: the first place that is searched."""
    tiny_models.save_vocabulary(folder / "tokenizer")
    return folder


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def case(request, tmp_path_factory):
    family = request.param
    folder = with_tokenizer(tmp_path_factory.mktemp(family) / "models")
    pipe = tiny_models.tiny_pipeline(family)
    return family, pipe, save_checkpoint(folder / "model.safetensors", pipe, family)


def test_every_weight_comes_back(case):
    family, pipe, path = case
    base = load_base(path, device="cpu")
    assert base.family.name == family
    pairs = [
        (base.unet, pipe.unet),
        (base.vae, pipe.vae),
        (base.text_encoders[0], pipe.text_encoder),
    ]
    if family == "sdxl":
        pairs.append((base.text_encoders[1], pipe.text_encoder_2))
    for ours, theirs in pairs:
        left, right = ours.state_dict(), theirs.state_dict()
        assert left.keys() == right.keys()
        assert all(torch.equal(left[k], right[k]) for k in left)


def test_it_predicts_as_the_folder_does(case, tmp_path):
    family, pipe, path = case
    pipe.save_pretrained(tmp_path / "folder")
    lora = tiny_models.save_lora(tmp_path / "lora.safetensors", family, text=True, conv=True)
    one = open_pair(path, lora, device="cpu")
    two = open_pair(tmp_path / "folder", lora, device="cpu")
    assert one.latent_shape[1] == (128 if family == "sdxl" else 64)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([1.0, 3.0])
    with torch.no_grad():
        a, b = (p(x, sigma, p.condition(["a cat!", ""], [0.0, 1.0])) for p in (one, two))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    pixels = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(one.encode(pixels), two.encode(pixels), atol=1e-5, rtol=0)
    assert torch.equal(one.sigmas, two.sigmas)


def test_a_dreambooth_checkpoint_is_a_tuned_model(case):
    _, _, path = case
    tensors = load_file(path)
    key = "model.diffusion_model.out.2.weight"
    moved = path.with_name("dreambooth.safetensors")
    save_file(tensors | {key: tensors[key] + 0.01}, moved)
    pair = open_pair(path, moved, device="cpu")
    assert pair.describe()["tuned_kind"] == "checkpoint"
    assert pair.output_change > 0


def test_v_prediction_and_zero_snr_keys_are_read(tmp_path):
    with_tokenizer(tmp_path / "m")
    pipe = tiny_models.tiny_pipeline("sdxl")
    path = tmp_path / "m" / "v.safetensors"
    save_checkpoint(path, pipe, "sdxl", v_pred=torch.zeros(0), ztsnr=torch.zeros(0))
    base = load_base(path, device="cpu")
    assert base.prediction == "v_prediction"
    assert float(base.sigmas[-1]) == pytest.approx(4096, rel=1e-3)
    assert load_base(path, device="cpu", prediction="epsilon").prediction == "epsilon"


def test_a_missing_weight_is_refused(case, tmp_path):
    _, _, path = case
    tensors = load_file(path)
    del tensors["model.diffusion_model.out.2.bias"]
    with_tokenizer(tmp_path / "m")
    save_file(tensors, tmp_path / "m" / "broken.safetensors")
    with pytest.raises(InputError, match=r"(?s)UNSUPPORTED_MODEL.*conv_out"):
        load_base(tmp_path / "m" / "broken.safetensors")


def test_a_vocabulary_of_another_model_is_refused(tmp_path):
    path = save_checkpoint(tmp_path / "m.safetensors", tiny_models.tiny_pipeline("sd1"), "sd1")
    with pytest.raises(InputError, match="WRONG_VOCABULARY"):
        load_base(path, device="cpu")


def test_a_unet_alone_is_refused(case, tmp_path):
    _, _, path = case
    alone = {k: v for k, v in load_file(path).items() if k.startswith("model.diffusion")}
    save_file(alone, tmp_path / "unet.safetensors")
    with pytest.raises(InputError, match="UNSUPPORTED_MODEL"):
        load_base(tmp_path / "unet.safetensors")


def test_the_vocabulary_inside_open_clip_is_clips(tmp_path):
    pytest.importorskip("open_clip")
    tokenizer = vocabulary.find_tokenizer(tmp_path / "m.safetensors")
    ids = tokenizer("a photo of a cat").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = tokenizer("x", padding="max_length", max_length=77).input_ids
    assert len(padded) == 77
    assert set(padded[3:]) == {49407}


@pytest.mark.parametrize(
    "text", ["Hello World, it's 10 o'clock", "fotografía de un gato", "ÄÖ 漢字"]
)
def test_token_ids_agree_with_open_clip(tmp_path, text):
    open_clip = pytest.importorskip("open_clip")
    ids = vocabulary.find_tokenizer(tmp_path / "m.safetensors")(text).input_ids
    assert ids == open_clip.tokenize([text])[0][: len(ids)].tolist()


def test_a_missing_vocabulary_names_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, "_open_clip_file", lambda: None)
    with pytest.raises(MissingWeightsError, match=r"vocab\.json and merges\.txt"):
        vocabulary.find_tokenizer(tmp_path / "m.safetensors")


def test_models_folders_above_are_searched(tmp_path):
    place = with_tokenizer(tmp_path / "models")
    (place / "checkpoints").mkdir()
    tokenizer = vocabulary.find_tokenizer(place / "checkpoints" / "m.safetensors")
    assert len(tokenizer) == 514


REAL = {
    "sd1": {
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "sd2": {
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}


@pytest.mark.parametrize("family", list(REAL))
def test_configs_of_the_published_models_follow_from_their_shapes(family):
    """Without weights: names and shapes of the real UNets, on the meta device."""
    with torch.device("meta"):
        real = UNet2DConditionModel(**REAL[family])
    attention = ["CrossAttn" in kind for kind in real.config.up_block_types]
    state = real.state_dict()
    shapes = {UNET + unet_name(n, 2, attention): tuple(v.shape) for n, v in state.items()}
    shapes[FAMILIES[family].text[-1].prefix + "text_projection"] = (1280, 1280)
    config = unet_config_of(shapes, FAMILIES[family])
    for key, value in REAL[family].items():
        found = config[key]
        assert (tuple(found) if isinstance(found, list) else found) == value, key
    with torch.device("meta"):
        ours = UNet2DConditionModel(**config).state_dict()
    assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in state.items()}


@pytest.mark.parametrize(("claimed", "length"), [(8192, 77), (77, 77), (20, 20), (None, 77)])
def test_prompts_have_no_more_tokens_than_clip_reads(tmp_path, claimed, length):
    tiny_models.save_vocabulary(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    if claimed is None:
        config.unlink(missing_ok=True)
    else:
        config.write_text(json.dumps({"model_max_length": claimed}))
    assert vocabulary.load_tokenizer(tmp_path).model_max_length == length
