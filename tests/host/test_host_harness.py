"""The harness itself: the server runs, knows the pack, samples, refuses and interrupts."""

import asyncio
import inspect
import logging
import re

import lora_forensics
import numpy as np
import pytest
import torch
from lora_forensics.core.lora.claims import exposure, read_claims
from lora_forensics.core.lora.formats import read_lora
from PIL import Image

from . import PACK
from .inprocess import conditioning
from .native_checkpoints import CLIP_L, SD3, SD15, SD15_BARE, SD15_DREAMBOOTH
from .native_loras import CAPTION, CONCEPT, KOHYA_WRITTEN, PARTLY_READ, SD3_BUILDERS, SD15_BUILDERS
from .outcomes import pictures, succeed
from .prompts import node, text_to_image
from .server import ComfyServer, RequestRefusedError, ServerDiedError

CATEGORY = "LoRA Forensics"
FAMILIES = (("sd15", SD15_BARE, 4), ("sd3", SD3, 16))
LORAS = (*SD15_BUILDERS, *SD3_BUILDERS)


def pixels(server, history):
    (image,) = pictures(server, history, "8")
    return image


def complaints(caplog):
    """Keys that ComfyUI left out, and patches that failed."""
    records = [(r.levelno, r.getMessage()) for r in caplog.records]
    return [m for level, m in records if level >= logging.ERROR or "lora key not loaded" in m]


def own_nodes(request):
    """The node classes that the checkout's entrypoint lists."""
    request.getfixturevalue("comfy")

    async def listed():
        extension = lora_forensics.comfy_entrypoint()
        if inspect.isawaitable(extension):
            extension = await extension
        return await extension.get_node_list()

    return asyncio.run(listed())


@pytest.fixture(scope="module")
def plain(server):
    return succeed(server, text_to_image(SD15))


def test_pack_is_imported_without_exception(server):
    start = server.log.partition("got prompt")[0]  # later lines are other tests' bad input
    lines = [line for line in start.splitlines() if PACK in line]
    assert any(re.search(r"\d+\.\d+ seconds", line) for line in lines), start
    assert not [line for line in lines if "Cannot import" in line or "Error" in line], start


def test_every_node_of_the_pack_is_offered(server, request):
    assert f"(IMPORT FAILED): {server.base / 'custom_nodes' / PACK}" not in server.log
    schemas = [node.GET_SCHEMA() for node in own_nodes(request)]
    info = server.object_info()
    offered = {n for n, form in info.items() if form["python_module"] == f"custom_nodes.{PACK}"}
    assert {schema.node_id for schema in schemas} == offered
    assert schemas
    assert not [n for n in offered if not info[n]["category"].startswith(CATEGORY)]


def test_plain_prompt_gives_an_image(server, plain):
    assert plain.executed[-1] == "8"
    assert ("6", 2, 2) in plain.progress
    image = pixels(server, plain)
    assert image.shape == (64, 64, 3)
    assert image.std() > 1
    assert server.path_of(plain.files("8")[0]).is_file()


def test_lora_changes_the_image(server, plain):
    tuned = succeed(server, text_to_image(SD15, lora="sd15_text.safetensors"))
    assert np.abs(pixels(server, tuned) - pixels(server, plain)).max() > 1
    assert "lora key not loaded" not in server.log


def test_same_prompt_is_cached(server):
    prompt = text_to_image(SD15, seed=5)
    server.run(prompt)
    again = succeed(server, prompt)
    assert again.executed == ()
    assert again.cached == set(prompt)


def test_sd3_runs_on_the_server(server, text_encoder):
    del text_encoder
    images = []
    for lora in (None, "sd3_split.safetensors"):
        prompt = text_to_image(SD3, lora=lora, text_encoder=CLIP_L)
        images.append(pixels(server, succeed(server, prompt)))
    assert images[0].std() > 1
    assert np.abs(images[0] - images[1]).max() > 1


def test_bad_input_is_refused(server):
    prompt = text_to_image(SD15)
    prompt["6"]["inputs"]["steps"] = "many"
    with pytest.raises(RequestRefusedError) as caught:
        server.post(prompt)
    assert caught.value.status == 400
    assert "6" in caught.value.body["node_errors"]


def test_failing_node_is_named(server, input_photos):
    """A checkpoint without a text encoder passes validation and fails at the prompt's node."""
    del input_photos
    history = server.run(text_to_image(SD15_BARE))
    assert history.status == "error"
    assert history.error is not None
    assert history.error["node_id"] in ("3", "4")


def test_interrupt_leaves_the_server_healthy(server):
    prompt_id = server.post(text_to_image(SD15, steps=1000))
    assert server.wait_event("progress", 120, prompt_id=prompt_id) is not None
    assert server.queue() == ([prompt_id], [])
    server.interrupt(prompt_id)
    assert server.wait(prompt_id, 60).status == "interrupted"
    succeed(server, text_to_image(SD15, seed=6))
    assert server.queue() == ([], [])


def test_photos_can_be_loaded(server, input_photos):
    names = sorted(path.name for path in input_photos.photos.glob("*.png"))
    assert len(names) == 6
    assert len(list(input_photos.controls.glob("*.png"))) == 12
    prompt = {
        "1": node("LoadImage", image=f"photos/{names[0]}"),
        "8": node("PreviewImage", images=["1", 0]),
    }
    history = succeed(server, prompt)
    drawn = np.asarray(Image.open(input_photos.photos / names[0]), dtype=float)
    assert np.array_equal(pixels(server, history), drawn)


def test_dead_server_shows_its_log(comfy_path, tmp_path):
    with (
        pytest.raises(ServerDiedError, match="no-such-option"),
        ComfyServer(tmp_path, comfy_path, options=["--no-such-option"]),
    ):
        pass


@pytest.mark.parametrize(("family", "name", "channels"), FAMILIES)
def test_bare_checkpoint_samples_in_process(comfy, native_folder, family, name, channels):
    model, clip, vae = comfy.checkpoint(native_folder / "checkpoints" / name)
    assert clip is None
    conds = conditioning(family), conditioning(family, seed=1)
    latent = comfy.ksampler(model, *conds, channels=channels)
    again = comfy.ksampler(model, *conds, channels=channels)
    assert torch.equal(latent, again)
    image = vae.decode(latent)
    assert image.shape == (1, 64, 64, 3)
    assert image.isfinite().all()
    assert image.std() > 0.01


def test_dreambooth_checkpoint_differs_from_its_base(comfy, native_folder):
    conds = conditioning(), conditioning(seed=1)
    latents = [
        comfy.ksampler(comfy.checkpoint(native_folder / "checkpoints" / name)[0], *conds)
        for name in (SD15_BARE, SD15_DREAMBOOTH)
    ]
    assert (latents[0] - latents[1]).abs().max() > 1e-3


def test_light_checkpoint_reads_text(comfy, light_checkpoint):
    _, clip, _ = comfy.checkpoint(light_checkpoint)
    first, second = (clip.encode_from_tokens(clip.tokenize(text)) for text in ("a man", "a cat"))
    assert first.shape == (1, 77, 768)
    assert first.isfinite().all()
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", LORAS)
def test_comfyui_reads_every_key(comfy, native_folder, light_checkpoint, caplog, name):
    bare = native_folder / "checkpoints" / SD3
    model, clip, _ = comfy.checkpoint(bare if name.startswith("sd3") else light_checkpoint)
    path = native_folder / "loras" / f"{name}.safetensors"
    with caplog.at_level(logging.WARNING):
        tuned, tuned_clip = comfy.with_lora(model, path, clip=clip)
        family, channels = ("sd3", 16) if name.startswith("sd3") else ("sd15", 4)
        conds = conditioning(family), conditioning(family, seed=1)
        latents = [comfy.ksampler(m, *conds, channels=channels) for m in (model, tuned)]
    assert not complaints(caplog)
    assert tuned.patches
    assert bool(tuned_clip and tuned_clip.patcher.patches) == (name == "sd15_text")
    assert latents[1].isfinite().all()
    assert (latents[0] - latents[1]).abs().max() > 1e-3


def test_comfyui_skips_attention_under_diffusers_names(comfy, native_folder, caplog):
    model, _, _ = comfy.checkpoint(native_folder / "checkpoints" / SD15_BARE)
    with caplog.at_level(logging.WARNING):
        tuned, _ = comfy.with_lora(model, native_folder / "loras" / f"{PARTLY_READ}.safetensors")
    assert len(tuned.patches) == 3
    assert len(complaints(caplog)) == 2 * 8


@pytest.mark.parametrize("name", [*LORAS, PARTLY_READ])
def test_core_reads_every_lora(native_folder, name):
    lora = read_lora(native_folder / "loras" / f"{name}.safetensors")
    claims = read_claims(lora.metadata)
    assert lora.modules
    if name in KOHYA_WRITTEN:
        assert claims.prompts[0].text == CAPTION
        assert {CAPTION, CONCEPT} <= set(claims.trigger_words)
        assert exposure(claims).passes == 100
    else:
        assert claims.prompts == ()
