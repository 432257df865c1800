"""A ComfyUI server, ComfyUI in this process, tiny models and photos; all once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_forensics.core.demo.faces import draw_faces
from PIL import Image

from . import PACK, ROOT, inprocess, native_checkpoints, native_loras
from .inprocess import Comfy
from .server import FOLDERS, ComfyServer

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.host)


@dataclass(frozen=True)
class Photos:
    """Two folders below ComfyUI's input folder."""

    photos: Path
    controls: Path


@pytest.fixture(scope="session")
def comfy_path() -> Path:
    """The ComfyUI checkout."""
    place = os.environ.get("COMFYUI_PATH")
    if not place:
        pytest.skip("COMFYUI_PATH is not set")
    path = Path(place).resolve()
    assert (path / "main.py").is_file(), f"COMFYUI_PATH={place} has no main.py"
    return path


@pytest.fixture(scope="session")
def host_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """ComfyUI's base directory, of the server and of this process; the models go at the end."""
    base = tmp_path_factory.mktemp("comfyui")
    for name in FOLDERS:
        (base / name).mkdir()
    yield base
    shutil.rmtree(base / "models", ignore_errors=True)


@pytest.fixture(scope="session")
def native_folder(host_base: Path) -> Path:
    """``models`` with the checkpoints that have no text encoder, and all LoRAs."""
    native_checkpoints.write_bare(host_base / "models")
    native_loras.write_loras(host_base / "models")
    return host_base / "models"


@pytest.fixture(scope="session")
def light_checkpoint(native_folder: Path) -> Path:
    """SD1.5 with a one-layer text encoder, for this process only: see `Comfy.checkpoint`."""
    return native_checkpoints.write_light(native_folder)


@pytest.fixture(scope="session")
def full_checkpoint(native_folder: Path) -> Path:
    """SD1.5 as the core loader node reads it."""
    return native_checkpoints.write_full(native_folder)


@pytest.fixture(scope="session")
def text_encoder(native_folder: Path) -> Path:
    """CLIP-L for CLIPLoader: ``text_to_image(SD3, text_encoder=CLIP_L)`` needs it."""
    return native_checkpoints.write_text_encoder(native_folder)


@pytest.fixture(scope="session")
def input_photos(host_base: Path) -> Photos:
    """6 photos, 12 controls of one institution and 60 to train on, each with its caption."""
    found = Photos(host_base / "input" / "photos", host_base / "input" / "controls")
    many = host_base / "input" / "training_photos"
    for folder, count, seed in ((found.photos, 6, 1), (found.controls, 12, 2), (many, 60, 3)):
        folder.mkdir()
        faces = draw_faces(count, "northgate", seed)
        for i, (pixels, caption) in enumerate(zip(faces.pixels, faces.captions(), strict=True)):
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
            (folder / f"{i:02}.txt").write_text(caption, encoding="utf-8")
    Image.fromarray(draw_faces(1, "northgate", 4).pixels[0]).save(many.parent / "example.png")
    return found


@pytest.fixture(scope="session")
def server(
    comfy_path: Path, host_base: Path, full_checkpoint: Path, input_photos: Photos
) -> Iterator[ComfyServer]:
    """A running server with this checkout as its one custom pack, `SD15` and all LoRAs."""
    del full_checkpoint, input_photos
    with ComfyServer(host_base, comfy_path, packs={PACK: ROOT}) as running:
        yield running


@pytest.fixture(scope="module")
def page(server: ComfyServer) -> Iterator[Any]:
    """ComfyUI's page; not for the session: Playwright's loop leaves no room for `asyncio.run`."""
    from .browser import SETTINGS, chromium, comfy_page

    if chromium() is None:
        pytest.skip("no Chromium here; CHROMIUM names one")
    server.call("/settings", SETTINGS)
    with comfy_page(f"http://127.0.0.1:{server.port}/") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def comfy(comfy_path: Path, host_base: Path) -> Iterator[Comfy]:
    """ComfyUI's modules in this process."""
    torch.set_num_threads(1)
    with inprocess.imported(comfy_path, host_base) as found:
        yield found


@pytest.fixture(scope="module")
def sd15(comfy: Comfy, native_folder: Path) -> tuple[Any, Any, Any]:
    """MODEL, no CLIP, and VAE, loaded in inference mode as on a server."""
    with torch.inference_mode():
        return comfy.checkpoint(native_folder / "checkpoints" / native_checkpoints.SD15_BARE)
