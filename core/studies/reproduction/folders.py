"""The full scale's photos: folders of the user, with captions beside the photos trained on.

``--dtu`` and ``--aau`` have ``seen`` and ``unseen`` inside, ``--lfw`` has ``seen`` (mixed into one
target, 1,120 in the paper) and ``unseen``. Each ``seen`` folder holds a ``metadata.jsonl`` with
``file_name`` and ``text``, as diffusers' training script reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...attack.classifier import check_weights
from ...backends.loading import load_base
from ...casework.intake import names_in, own_name, stop_if_minor
from ...encoders import load_encoder
from ...errors import InputError, MissingWeightsError
from ...images.captions import FILE_NAME, captions_of, load_captions
from ...images.photos import decode_file, image_files, to_tensor
from ...images.watermark import default_logo, load_logo
from ...lora.header import sha256_file
from ...lora.safeguard import stop_words
from .material import Material, digest_of_sets, with_marks
from .scales import Scale

SETS = {
    "dtu-seen": ("dtu", "seen"),
    "dtu-unseen": ("dtu", "unseen"),
    "aau-seen": ("aau", "seen"),
    "aau-unseen": ("aau", "unseen"),
    "lfw-seen": ("lfw", "seen"),
    "lfw": ("lfw", "unseen"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the user's files are.

    Attributes:
        base: Stable Diffusion 1.5, a diffusers folder or one file.
        dtu, aau, lfw: photo folders.
        logo: picture of the watermark; None takes the built-in one.
        resnet: ImageNet ResNet-18 as safetensors; None starts at random.
        models: folder with the encoder's weights.
        device, dtype: see `backends.loading.open_pair`.
    """

    base: Path | None = None
    dtu: Path | None = None
    aau: Path | None = None
    lfw: Path | None = None
    logo: Path | None = None
    resnet: Path | None = None
    models: Path | None = None
    device: str = "auto"
    dtype: str = "auto"


def folder_material(scale: Scale, given: Folders) -> Material:
    """The user's base and photos.

    Raises:
        InputError: MISSING_FLAG, or what the readers of photos and captions say.
        MissingWeightsError: a file is not there.
        ForensicsError: MINOR_SUSPECTED before any photo is opened.
    """
    base, roots = _required(given)
    files = {name: image_files(roots[who] / part) for name, (who, part) in SETS.items()}
    captioned = {
        name: _captions(roots[who] / part, files[name])
        for name, (who, part) in SETS.items()
        if part == "seen"
    }
    _stop_for_words(roots, captioned)
    plain: dict[str, Sequence[Tensor]] = {
        name: [to_tensor(decode_file(file)[0]) for file in paths] for name, paths in files.items()
    }
    logo = default_logo() if given.logo is None else load_logo(given.logo)
    if given.resnet is not None:
        if not given.resnet.is_file():
            raise MissingWeightsError("MISSING_FILE", f"there is no file {given.resnet}")
        check_weights(given.resnet)
    sets, captions = with_marks(plain, captioned, logo)
    facts = {
        "photos": digest_of_sets(plain, captioned),
        "logo": digest_of_sets({"logo": [logo]}, {}),
    }
    facts["resnet"] = "random start" if given.resnet is None else sha256_file(given.resnet)
    return Material(
        load_base(base, device=given.device, dtype=given.dtype),
        sets,
        captions,
        load_encoder(scale.encoder, given.models),
        given.resnet,
        facts,
    )


def _required(given: Folders) -> tuple[Path, dict[str, Path]]:
    folders = {name: getattr(given, name) for name in ("base", "dtu", "aau", "lfw")}
    missing = [f"--{name}" for name, path in folders.items() if path is None]
    if missing:
        raise InputError(
            "MISSING_FLAG",
            f"the sd15 scale needs {', '.join(missing)}; the tiny scale needs no file",
        )
    return folders.pop("base"), folders


def _stop_for_words(roots: Mapping[str, Path], captioned: Mapping[str, Sequence[str]]) -> None:
    """Nothing is opened or trained while a name or a caption points to a minor."""
    names = [name for who, part in SETS.values() for name in names_in(roots[who] / part)]
    captions = [text for texts in captioned.values() for text in texts]
    stop_if_minor(stop_words([*map(own_name, roots.values()), *names, *captions]), flagged=False)


def _captions(folder: Path, files: Sequence[Path]) -> list[str]:
    return captions_of([file.name for file in files], load_captions(folder / FILE_NAME))
