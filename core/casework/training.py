"""From files to a trained LoRA or checkpoint; captions and watermarks of a folder of photos."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..backends.diffusers import DiffusersPair
from ..backends.loading import load_base
from ..backends.networks import Networks
from ..errors import InputError, RunError, plural
from ..images.captions import FILE_NAME, caption, captions_of, load_captions, save_captions
from ..images.photos import decode_file, image_files, png_bytes, to_tensor
from ..images.watermark import KINDS, default_logo, load_logo
from ..lora.safeguard import stop_words
from ..protocols import QUIET, Progress
from ..storage import Work, open_case, sha256_bytes, write_atomic
from ..training.finetune import finetune, save_checkpoint
from ..training.trained import Finetuned, save_lora, save_losses
from ..training.views import fit_short
from .intake import check_output, names_in, stop_if_minor
from .request import CaptionRequest, TrainRequest, WatermarkRequest

Announce = Callable[[str], None]


def train_files(
    request: TrainRequest,
    *,
    progress: Progress = QUIET,
    announce: Announce = lambda _: None,
) -> tuple[Path, ...]:
    """Train on a folder of photos; the same request resumes an interrupted run.

    Returns:
        The LoRA file or checkpoint folder, and the loss log.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any picture is opened.
    """
    check_output(request.out)
    _check_words(request)
    files = image_files(request.photos)
    texts = _texts(request, files)
    names = [request.name, *names_in(request.photos)]
    stop_if_minor(stop_words([*names, *texts]), flagged=request.minor_suspected)
    full = request.spec.method == "full" and request.dtype == "auto"
    dtype = "float32" if full else request.dtype
    networks = load_base(request.base, device=request.device, dtype=dtype)
    images = load_short(files, DiffusersPair(networks, tuned_sha256="").resolution)
    announce(
        f"{plural(len(files), 'photo')}, {plural(len(set(texts)), 'caption')}, "
        f"{plural(request.spec.steps, 'step')} of "
        f"{request.spec.batch * request.spec.accumulation}; method {request.spec.method}"
    )
    with closing(open_case(request.out, _manifest(request, networks, images, texts))) as folder:
        trained = finetune(networks, images, texts, request.spec, work=Work(folder, progress))
        return _save(trained, networks, request)


def _check_words(request: TrainRequest) -> None:
    if (request.captions is None) == (not request.caption):
        raise InputError(
            "NO_CAPTIONS", "give either a file of captions or one caption for all photos"
        )
    if not re.fullmatch(r"[\w .+-]{1,100}", request.name) or request.name.startswith("."):
        raise InputError(
            "BAD_NAME",
            f"the name {request.name!r} is not a plain file name; use letters and digits",
        )


def _texts(request: TrainRequest, files: Sequence[Path]) -> list[str]:
    if request.captions is None:
        return [request.caption] * len(files)
    return captions_of((f.name for f in files), load_captions(request.captions))


def load_short(files: Sequence[Path], side: int) -> list[Tensor]:
    """Decode files canonically, ``[3, H, W]`` each with a short side of `side` pixels."""
    return [to_tensor(fit_short(decode_file(file)[0], side)) for file in files]


def _manifest(
    request: TrainRequest, networks: Networks, images: Sequence[Tensor], texts: Sequence[str]
) -> dict[str, Any]:
    return {
        "tool": __version__,
        "verb": "train",
        "base": networks.sha256,
        "photos": [sha256_bytes(i.contiguous().numpy().tobytes()) for i in images],
        "captions": list(texts),
        "settings": asdict(request.spec),
        "dtype": str(next(networks.unet.parameters()).dtype),
        "name": request.name,
        "layout": request.layout,
    }


def _save(trained: Finetuned, networks: Networks, request: TrainRequest) -> tuple[Path, ...]:
    log = save_losses(trained, request.out / f"{request.name}-loss.csv")
    if request.spec.method == "full":
        return save_checkpoint(trained, networks, request.out / request.name), log
    path = request.out / f"{request.name}.safetensors"
    return save_lora(trained, path, layout=request.layout, name=request.name), log


def caption_files(request: CaptionRequest, *, progress: Progress = QUIET) -> Path:
    """Caption a folder of photos into a file of JSON lines.

    Returns:
        The file.

    Raises:
        ForensicsError: MINOR_SUSPECTED also when a caption points to a minor; nothing is written.
        RunError: EXISTS, before any work: captions may have been corrected by hand.
    """
    files = image_files(request.photos)
    words = [request.prefix, *names_in(request.photos)]
    stop_if_minor(stop_words(words), flagged=request.minor_suspected)
    path = request.out if request.out.suffix == ".jsonl" else request.out / FILE_NAME
    if path.exists():
        raise _exists(path, "a new file")
    images = [to_tensor(decode_file(file)[0]) for file in files]
    texts = caption(
        images, request.blip, prefix=request.prefix, device=request.device, progress=progress
    )
    stop_if_minor(stop_words(texts), flagged=False)
    return save_captions(dict(zip((f.name for f in files), texts, strict=True)), path)


def watermark_files(request: WatermarkRequest, *, progress: Progress = QUIET) -> list[Path]:
    """Lay a watermark on every photo of a folder; each becomes a PNG of its own size.

    Raises:
        InputError: SAME_FOLDER, DUPLICATE_NAMES, NO_MARK, or a picture's own code.
        RunError: EXISTS, a file of that name holds something else; nothing is written.
    """
    files, kind = image_files(request.photos), request.kind
    stop_if_minor(stop_words(names_in(request.photos)), flagged=request.minor_suspected)
    _check_names(files, request.out)
    mark = default_logo() if request.logo is None else load_logo(request.logo)
    targets = [request.out / f"{file.stem}.png" for file in files]
    for file, target in zip(files, targets, strict=True):
        if target.exists() and not _holds(target, _marked(file, kind, mark)):
            raise _exists(target, "this mark of this photo, or no file")
    progress.start("watermarks", len(files))
    for file, target in zip(files, targets, strict=True):
        if not target.exists():
            write_atomic(target, _marked(file, kind, mark))
        progress.step()
    return targets


def _marked(file: Path, kind: str, mark: Tensor) -> bytes:
    plain = to_tensor(decode_file(file)[0])
    marked = KINDS[kind](plain, mark)
    if torch.equal(marked, plain):
        raise InputError(
            "NO_MARK",
            f"the {kind} mark changes no pixel of {file}; a mark must be seen: give another --logo",
        )
    return png_bytes(marked)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _exists(path: Path, expected: str) -> RunError:
    return RunError("EXISTS", f"{path} is there already; expected was {expected}; give a new --out")


def _check_names(files: Sequence[Path], out: Path) -> None:
    if out.resolve() in {f.parent.resolve() for f in files}:
        raise InputError("SAME_FOLDER", f"{out} is the photos' own folder; give another --out")
    stems = [f.stem for f in files]
    twice = sorted({s for s in stems if stems.count(s) > 1})
    if twice:
        raise InputError(
            "DUPLICATE_NAMES", f"several photos are called {', '.join(twice[:5])}; rename them"
        )
