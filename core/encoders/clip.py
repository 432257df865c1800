"""CLIP by open_clip, from a local file: descriptors of images and of prompts.

OpenAI's ViT-L/14 (Radford et al. 2021, MIT licence) unless a JSON file beside the weights says
otherwise. Its features see content and style, not copies: no cosine of them is a copy threshold.
The membership paper (arXiv 2502.11619) averages the raw 768 features; an `ImageEncoder` gives unit
rows. open_clip is imported when weights are read, and nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import device_of
from ..errors import InputError, MissingDependencyError, MissingWeightsError, plural
from ..lora.header import load_tensors, sha256_file
from ..records import strict_json
from ..types import EncoderId

FILE, CONFIG = "clip.safetensors", "clip.json"
DEFAULT = "ViT-L-14-quickgelu"
NO_THRESHOLD = 2.0
"""Above every cosine: CLIP calls nothing a copy."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
GET_IT = (
    "OpenAI's ViT-L/14 as open_clip reads it (MIT licence, about 1.7 GB): "
    "`open_clip.create_model('ViT-L-14-quickgelu', 'openai').state_dict()` saved as safetensors "
    "(SHA-256: none is published, so it is shown as unverified)"
)


class ClipEncoder:
    """CLIP as an `ImageEncoder`, with raw features and prompts.

    Attributes:
        id: name, hash and length of a vector; the note says that the file is unverified.
        scale: what cosines are multiplied by before a softmax over prompts.

    Raises:
        InputError: the weights do not fit the architecture (WRONG_WEIGHTS), or the JSON file
            beside them asks for something else than a plain open_clip model (WRONG_CONFIG).
        MissingDependencyError: open_clip is not installed.
    """

    def __init__(self, path: Path, config: Mapping[str, Any] | str = DEFAULT):
        name, built = _config(config)
        self.network = _network(built, load_tensors(path), path.name)
        self._context = self.network.context_length
        size = self.network.visual.image_size  # type: ignore[union-attr]
        self.side = int(size[0] if isinstance(size, tuple | list) else size)  # type: ignore[index]
        self.scale = float(self.network.logit_scale.exp())  # type: ignore[operator,union-attr]
        note = (
            f"{name}; its weights are unverified, as no hash is published; it sees content, not "
            "copies, and has no copy threshold"
        )
        width = int(built["embed_dim"])
        self.id = EncoderId("clip", sha256_file(path), width, NO_THRESHOLD, NO_THRESHOLD, note)

    @classmethod
    def find(cls, models: Path | None) -> ClipEncoder:
        """Load ``clip.safetensors`` from the models folder; ``clip.json`` may name another model.

        The JSON holds either an open_clip architecture's name, or ``{"model_cfg": {...}}`` as in
        open_clip's own configuration files.

        Raises:
            MissingWeightsError: the file is not there.
        """
        if models is None or not (models / FILE).is_file():
            raise MissingWeightsError(
                "MISSING_WEIGHTS",
                f"{FILE} is not in {models or 'a --models folder'}. Put there {GET_IT}; for "
                f"another model of open_clip add its name or its configuration as {CONFIG}",
            )
        path = models / CONFIG
        config = strict_json(path.read_bytes()) if path.is_file() else DEFAULT
        return cls(models / FILE, config)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Unit-norm descriptors ``[N, D]`` of pixels ``[N, 3, H, W]`` in 0..1."""
        return F.normalize(self.features(pixels), dim=-1)

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Raw features ``[N, D]`` of pixels ``[N, 3, H, W]`` in 0..1; the paper averages these."""
        pixels = pixels.to(device_of(self.network))
        return self.network.encode_image(prepare(pixels, self.side))  # type: ignore[operator]

    @torch.no_grad()
    def prompts(self, texts: Sequence[str]) -> Tensor:
        """Unit-norm descriptors ``[N, D]`` of prompts; what exceeds the context is cut."""
        from open_clip.tokenizer import SimpleTokenizer

        tokens = SimpleTokenizer(context_length=int(self._context))(list(texts))  # type: ignore[arg-type]
        tokens = tokens.to(device_of(self.network))
        return F.normalize(self.network.encode_text(tokens), dim=-1)  # type: ignore[operator]


def prepare(pixels: Tensor, side: int) -> Tensor:
    """CLIP's input: short side to `side` (bicubic, antialiased), centre crop, normalised.

    Args:
        pixels: ``[N, 3, H, W]`` in 0..1.
        side: in pixels.

    Returns:
        ``[N, 3, side, side]``. open_clip resizes 8-bit pictures with Pillow, which differs by its
        rounding.
    """
    from torchvision.transforms.functional import center_crop

    short = min(pixels.shape[-2:])
    if short != side:
        size = [side if s == short else int(side * s / short) for s in pixels.shape[-2:]]
        pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (center_crop(pixels, [side, side]) - mean) / std


def _config(given: Any) -> tuple[str, dict[str, Any]]:
    """Name and open_clip configuration of what a JSON file, or the default, asks for."""
    open_clip = _open_clip()
    if isinstance(given, str):
        config = open_clip.get_model_config(given) if given in open_clip.list_models() else None
        name = given
    else:
        config, name = given.get("model_cfg") if isinstance(given, Mapping) else None, "own model"
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise InputError(
            "WRONG_CONFIG",
            f"{str(given)[:80]!r} is not an architecture of open_clip; give its name, such as "
            f'"{DEFAULT}", or {{"model_cfg": {{"embed_dim": ..., "vision_cfg": ..., '
            '"text_cfg": ...}}}}',
        )
    asked = {*config["vision_cfg"], *config["text_cfg"], *config}
    foreign = sorted(k for k in asked if k.startswith(("hf_", "timm_", "custom_", "multimodal_")))
    if foreign:
        raise InputError(
            "WRONG_CONFIG",
            f"{name} needs {', '.join(foreign)}, which may be fetched from elsewhere; give a plain "
            "CLIP of open_clip, with its own image and text towers",
        )
    return name, config


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise MissingDependencyError(
            "MISSING_DEPENDENCY", "CLIP needs open_clip: pip install 'lora-forensics[headless]'"
        ) from error
    return open_clip


def _network(config: Mapping[str, Any], state: dict[str, Tensor], name: str) -> nn.Module:
    from open_clip.model import CLIP

    try:
        with torch.device("meta"):
            expected = CLIP(**config).state_dict()
        _check_names(expected, state, name)
        network = CLIP(**config)
        network.load_state_dict({k: v.float() for k, v in state.items()})
    except (TypeError, RuntimeError) as error:
        raise InputError(
            "WRONG_WEIGHTS", f"{name} is not such a CLIP: {str(error)[:200]}"
        ) from error
    return network.eval().requires_grad_(False)


def _check_names(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> None:
    odd = sorted(
        k
        for k in expected.keys() | state.keys()
        if k not in expected or k not in state or expected[k].shape != state[k].shape
    )
    if odd:
        raise InputError(
            "WRONG_WEIGHTS",
            f"{name}: {plural(len(odd), 'tensor')} missing, unknown or of another shape, such as "
            f"{odd[0][:80]!r}. Wanted: {GET_IT}; or name its architecture in {CONFIG}",
        )
