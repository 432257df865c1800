"""The embedded files: they load where users load them, and the truth says what is on disk."""

import json

import numpy as np
import pytest
import torch
from lora_forensics.core.demo.assets import ASSETS, asset_path, load_truth, suspect_truth
from lora_forensics.core.demo.datasets import read_photos
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.demo.making.codec import encode, psnr, reconstruct, to_float
from lora_forensics.core.demo.suspects import SUSPECTS, photo_plan
from lora_forensics.core.errors import MissingWeightsError
from lora_forensics.core.lora.writing import key_of
from safetensors import safe_open


def test_missing_asset_names_the_way_out():
    with pytest.raises(MissingWeightsError, match="recipe"):
        asset_path("nothing.bin")


def test_nothing_is_pickled_and_all_is_small():
    files = [p for p in ASSETS.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".safetensors", ".json", ".txt", ".png", ".jpg"}
    assert sum(p.stat().st_size for p in files) < 20e6


def test_truth_is_the_plan_and_is_on_disk():
    truth = load_truth()
    assert list(truth) == [s.name for s in SUSPECTS]
    for suspect in SUSPECTS:
        entry = truth[suspect.name]
        assert entry == suspect_truth(suspect)
        assert entry.member == (entry.query == entry.trained_on)
        for name in (entry.adapter, entry.query, entry.trained_on, entry.controls):
            assert asset_path(name).exists()


def test_photo_folders_are_disjoint_and_complete():
    seen = set()
    for name, (_, n) in photo_plan().items():
        photos = read_photos(asset_path(f"photos/{name}"))
        assert photos.shape == (n, 64, 64, 3)
        prints = {p.tobytes() for p in photos}
        assert len(prints) == n
        assert not prints & seen
        seen |= prints


def test_file_format_says_nothing():
    shares = {}
    for name in photo_plan():
        files = list(asset_path(f"photos/{name}").iterdir())
        shares[name] = np.mean([p.suffix == ".png" for p in files])
    assert 0.35 < shares["controls_north"] < 0.65
    assert 0.15 < shares["guilty_strong"] < 0.85


@pytest.mark.parametrize("suspect", SUSPECTS, ids=lambda s: s.name)
def test_adapter_keys_map_onto_the_unet(base, suspect):
    modules = {key_of(name) for name in base.modules()["unet"]}
    with safe_open(asset_path(f"suspects/{suspect.name}.safetensors"), "pt") as file:
        assert {k.split(".")[0] for k in file.keys()} <= modules  # noqa: SIM118
        facts = file.metadata()
        ups = [file.get_tensor(k) for k in file.keys() if "lora_up" in k]  # noqa: SIM118
    assert all(u.isfinite().all() for u in ups)
    assert max(u.abs().max() for u in ups) > 0
    assert int(facts["ss_network_dim"]) == suspect.recipe.rank
    tags = json.loads(facts["ss_tag_frequency"])
    assert list(tags.values()) == [{suspect.prompt: suspect.n_photos}]


def test_pipeline_loads_and_draws():
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        asset_path("base"), safety_checker=None, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(torch.float32)
    generator = torch.Generator().manual_seed(0)
    images = pipeline(
        "a headshot of a woman with long red hair",
        num_inference_steps=8,
        guidance_scale=2.0,
        height=64,
        width=64,
        generator=generator,
        output_type="np",
    ).images
    assert images.shape == (1, 64, 64, 3)
    assert images.std() > 0.1


def test_codec_reconstructs(base):
    pictures = to_float(draw_faces(24, "northgate", 4242).pixels)
    assert psnr(reconstruct(base.vae, pictures), pictures) > 20


def test_latents_have_unit_spread(base):
    latents = encode(base.vae, draw_faces(64, "generic", 4243).pixels)
    assert latents.shape[1] == base.unet.config["in_channels"]
    assert 0.8 < float(latents.std()) < 1.2


def test_no_file_names_a_place_on_the_machine_that_made_it():
    texts = [p for p in ASSETS.rglob("*") if p.suffix in {".json", ".txt"}]
    assert len(texts) > 5
    for path in texts:
        assert "_name_or_path" not in path.read_text(encoding="utf-8"), path
