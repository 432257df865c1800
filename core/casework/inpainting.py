"""From photos to a set of repainted, decoded and untouched pictures with masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..backends.loading import load_base, open_pair
from ..backends.unconditional import load_unconditional
from ..errors import InputError, NotEnoughDataError, plural
from ..images.photos import Photos, image_files, load_photos
from ..inpainting.classical import METHODS, ClassicalInpainter
from ..inpainting.diffusion import DiffusionInpainter
from ..inpainting.examples import ExampleSet, Inpainter, make_examples
from ..inpainting.lama import LamaInpainter
from ..inpainting.masks import face_parts, random_mask, read_labels, read_mask
from ..inpainting.whole import add_whole
from ..lora.safeguard import stop_words
from ..protocols import QUIET, ModelPair, Progress
from ..sampling.plans import seed_of
from ..storage import open_case
from .intake import check_output, model_signs, names_in, stop_if_minor
from .request import PART_MASKS, InpaintRequest


def inpaint_files(
    request: InpaintRequest,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> ExampleSet:
    """Make the set; the same request goes on where it was.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any picture is opened.
    """
    check_output(request.out)
    _check(request)
    _safeguard(request)
    with ExitStack() as stack:
        pairs = _pairs(request)
        for pair in pairs.values():
            stack.enter_context(closing(pair))
        inpainters = [_inpainter(name, request, pairs) for name in request.generators]
        side = _side(request, pairs)
        files = image_files(request.photos)
        photos = load_photos(files, "photo", side, root=_root(request.photos))
        masks = _masks(request, photos)
        cost = sum(i.cost for i in inpainters) * len(photos)
        names = ", ".join(i.name for i in inpainters)
        announce(f"{plural(len(photos), 'photo')} of {side} pixels; {names}; at most "
                 f"{plural(cost, 'forward pass', 'forward passes')}")  # fmt: skip
        with closing(open_case(request.out, _manifest(request, photos, masks, inpainters))) as case:
            examples = make_examples(
                photos, masks, inpainters, case, seed=request.spec.seed, progress=progress
            )
            painters = [i for i in inpainters if isinstance(i, DiffusionInpainter)]
            if not request.whole:
                return examples
            return add_whole(
                examples, painters, request.whole, case, seed=request.spec.seed, progress=progress
            )


def _check(request: InpaintRequest) -> None:
    needed = {"repaint": ("base", request.base), "pixel": ("pixel-model", request.pixel_model),
              "lama": ("lama", request.lama)}  # fmt: skip
    for name, (flag, given) in needed.items():
        if name in request.generators and given is None:
            raise InputError("MISSING_FLAG", f"generator {name} needs --{flag}")
    if request.whole and not {"repaint", "pixel"} & set(request.generators):
        raise InputError(
            "BAD_SETTING", "whole pictures are drawn by a diffusion model: add repaint or pixel"
        )
    if request.masks == PART_MASKS and request.mask_folder is None:
        raise InputError(
            "MISSING_FLAG",
            "masks of face parts need --mask-folder with a parser's output, one PNG of classes "
            "per photo",
        )


def _safeguard(request: InpaintRequest) -> None:
    signs = stop_words([request.prompt, *names_in(request.photos)])
    if request.lora is not None:
        signs += model_signs(request.lora)
    stop_if_minor(signs, flagged=request.minor_suspected)


def _root(given: Path) -> Path:
    return given if given.is_dir() else given.parent


def _pairs(request: InpaintRequest) -> dict[str, ModelPair]:
    """The models that generators ask, by generator."""
    pairs: dict[str, ModelPair] = {}
    if "repaint" in request.generators and request.base is not None:
        pairs["repaint"] = _latent_pair(request.base, request.lora, request.device)
    if "pixel" in request.generators and request.pixel_model is not None:
        pairs["pixel"] = load_unconditional(request.pixel_model, request.device)
    return pairs


def _latent_pair(base: Path, lora: Path | None, device: str) -> ModelPair:
    from ..backends.diffusers import DiffusersPair

    if lora is not None:
        return open_pair(base, lora, device=device)
    networks = load_base(base, device=device)
    return DiffusersPair(networks, tuned_sha256=networks.sha256)


def _inpainter(name: str, request: InpaintRequest, pairs: dict[str, ModelPair]) -> Inpainter:
    if name in METHODS:
        return ClassicalInpainter(name)
    if name == "lama":
        assert request.lama is not None
        return LamaInpainter(request.lama, request.device)
    title = "repaint_latent" if name == "repaint" else "repaint_pixel"
    return DiffusionInpainter(pairs[name], request.prompt, request.spec, name=title)


def _side(request: InpaintRequest, pairs: dict[str, ModelPair]) -> int:
    sides = {pair.resolution for pair in pairs.values()} | ({request.side} - {0})
    if len(sides) > 1:
        raise InputError(
            "BAD_SETTING",
            f"the models and --side want different sizes: {sorted(sides)}; make one set per size",
        )
    return sides.pop() if sides else 256


def _masks(request: InpaintRequest, photos: Photos) -> list[NDArray[np.bool_]]:
    height, width = photos.images.pixels.shape[2:]
    seeds = [seed_of(request.spec.seed, int(s.sha256[:12], 16)) for s in photos.images.sources]
    if request.mask_folder is None:
        return [random_mask(height, width, request.masks, seed % 2**63) for seed in seeds]
    files = _mask_files(request.mask_folder, photos)
    if request.masks == PART_MASKS:
        return [
            face_parts(read_labels(file, (height, width)), np.random.default_rng(seed))
            for file, seed in zip(files, seeds, strict=True)
        ]
    return [read_mask(file, (height, width), white=request.white) for file in files]


def _mask_files(folder: Path, photos: Photos) -> list[Path]:
    by_stem = {file.stem: file for file in image_files(folder)}
    names = [Path(f.name).stem for f in photos.facts]
    missing = [n for n in names if n not in by_stem]
    if missing:
        raise NotEnoughDataError(
            "MISSING_MASKS",
            f"{folder} has no mask for {plural(len(missing), 'photo')}, such as {missing[0]}; name "
            "each mask as its photo",
        )
    return [by_stem[n] for n in names]


def _manifest(
    request: InpaintRequest,
    photos: Photos,
    masks: Sequence[NDArray[np.bool_]],
    inpainters: Sequence[Inpainter],
) -> dict[str, Any]:
    return {
        "tool": __version__,
        "photos": [s.sha256 for s in photos.images.sources],
        "masks": {"kind": request.masks, "areas": [round(float(m.mean()), 6) for m in masks]},
        "generators": [i.facts() for i in inpainters],
        "whole": request.whole,
        "seed": request.spec.seed,
        "settings": {k: v for k, v in asdict(request.spec).items() if k != "batch"},
    }
