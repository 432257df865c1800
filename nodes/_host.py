"""ComfyUI's services in the core's words: progress, pictures, files and folders."""

from __future__ import annotations

import io as bytes_io
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..core.errors import InputError
from ..core.images.photos import SUFFIXES, to_picture, to_tensor
from ..core.images.watermark import default_logo
from ..core.storage import CaseFolder, digest_of, open_case

FOLDER = "lora_forensics"
"""Below ComfyUI's output folder; its ``work`` keeps finished units so that work resumes."""
PREVIEW_SIDE = 512
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class HostProgress:
    """`core.protocols.Progress` on the node's bar; each step is a place to interrupt."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._preview: Any = None

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Begin a task on the node's bar."""
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(max(total, 1))
        self._bar.update(done)
        say(task)

    def step(self, n: int = 1) -> None:
        """Report `n` more units."""
        if self._bar is None:
            return
        preview, self._preview = self._preview, None
        self._bar.update_absolute(min(self._bar.current + n, self._bar.total), preview=preview)

    def show(self, pixels: Tensor) -> None:
        """Show the newest images beside the next step."""
        count = min(len(pixels), 4)
        row = torch.cat(list(pixels[:count]), dim=2)
        self._preview = ("JPEG", to_picture(row), PREVIEW_SIDE)
        self.step(0)


def say(text: str) -> None:
    """One line of status on the node that runs."""
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        server.send_progress_text(text, context.node_id)


def to_image(pixels: Tensor) -> Tensor:
    """ComfyUI's IMAGE ``[N, H, W, 3]`` of core pixels ``[N, 3, H, W]``."""
    return pixels.movedim(1, -1).contiguous()


def to_pixels(image: Tensor) -> Tensor:
    """Core pixels ``[N, 3, H, W]`` in 0..1 of an IMAGE, transparency laid on white."""
    pixels = image.detach().cpu().float().movedim(-1, 1)
    if pixels.shape[1] == 4:
        pixels = pixels[:, :3] * pixels[:, 3:] + (1 - pixels[:, 3:])
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels


def logo_of(logo: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor:
    """RGBA ``[4, h, w]`` of the host's IMAGE and MASK; a MASK is 1 where it is transparent.

    Raises:
        InputError: BAD_SHAPE for a mask of another size, or without a logo.
    """
    if logo is None:
        if mask is not None:
            raise InputError("BAD_SHAPE", "a mask is connected and no logo; connect both")
        return default_logo()
    picture = logo[0].detach().cpu().float().movedim(-1, 0)
    if mask is None:
        return torch.cat([picture[:3], picture[3:] if len(picture) == 4 else _opaque(picture)])
    alpha = 1 - mask.detach().cpu().float().reshape(-1, *mask.shape[-2:])[:1]
    if alpha.shape[1:] != picture.shape[1:]:
        raise InputError(
            "BAD_SHAPE",
            f"the logo has {list(picture.shape[1:])} pixels, its mask {list(alpha.shape[1:])}; "
            "take both from one Load Image",
        )
    return torch.cat([picture[:3], alpha])


def _opaque(picture: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(picture[:1])


def png_image(data: bytes) -> Tensor:
    """IMAGE ``[1, H, W, 3]`` of a PNG that the core drew."""
    picture = Image.open(bytes_io.BytesIO(data), formats=("PNG",)).convert("RGB")
    return to_image(to_tensor(picture)[None])


def compute_device() -> str:
    """The device that the graph computes on."""
    from comfy.model_management import get_torch_device

    return str(get_torch_device())


def nothing() -> Any:
    """An output with nothing to show: nodes behind it do not run, instead of failing."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(None)


def drawn(png: bytes | None) -> Any:
    """IMAGE of a plot, or `nothing`."""
    return nothing() if png is None else png_image(png)


def inside(root: Path, relative: str) -> Path:
    """A path below `root`, or an error; nothing outside is ever touched.

    Raises:
        InputError: OUTSIDE_FOLDER.
    """
    parts = relative.split("/")
    bad = any(
        not p or p != p.strip(" .") or _RESERVED.match(p) or re.search(r'[\x00-\x1f\\:*?"<>|]', p)
        for p in parts
    )
    if bad or not (root / relative).resolve().is_relative_to(root.resolve()):
        raise InputError(
            "OUTSIDE_FOLDER", f"{relative!r} is not a plain folder name below {root.name}"
        )
    return (root / relative).resolve()


def check_name(name: str) -> None:
    """A name that may become a file's.

    Raises:
        InputError: BAD_NAME.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InputError("BAD_NAME", f"{name!r}: use 1 to 64 letters, digits, - and _")


def plain_name(name: str) -> str:
    """A name that `check_name` accepts, as near to the given one as can be."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40].strip("_") or "file"


def input_root() -> Path:
    """ComfyUI's input folder."""
    import folder_paths

    return Path(folder_paths.get_input_directory()).resolve()


def input_folders() -> list[str]:
    """Sub-folders of ComfyUI's input folder that hold images, or sessions that do."""
    root = input_root()
    folders = [p for pattern in ("*", "*/*") for p in root.glob(pattern) if p.is_dir()]
    holds = {p for p in folders if any(f.suffix.lower() in SUFFIXES for f in p.iterdir())}
    holds |= {p.parent for p in holds} - {root}
    return sorted(p.relative_to(root).as_posix() for p in holds)


def input_folder(name: str) -> Path:
    """One of `input_folders` as a path.

    Raises:
        InputError: MISSING_FOLDER, OUTSIDE_FOLDER.
    """
    folder = inside(input_root(), name)
    if not folder.is_dir():
        raise InputError(
            "MISSING_FOLDER", f"there is no folder {name!r} in ComfyUI's input folder; make one"
        )
    return folder


def output_folder(*names: str) -> Path:
    """A folder below ``output/lora_forensics``."""
    import folder_paths

    return inside(Path(folder_paths.get_output_directory()), "/".join((FOLDER, *names)))


@contextmanager
def work_folder(facts: dict[str, Any]) -> Iterator[CaseFolder]:
    """Where finished units of one configuration are kept, so that the same work resumes.

    Args:
        facts: everything that decides the results, hashes included.
    """
    with closing(open_case(output_folder("work", digest_of(facts)[:24]), facts)) as folder:
        yield folder


def fingerprint(folder: Path) -> str:
    """What a folder and its sessions hold, by name, size and time: changes when a file does."""
    files = sorted(p for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.is_file())
    stats = [(p.relative_to(folder).as_posix(), p.stat()) for p in files]
    return digest_of([[name, s.st_size, s.st_mtime_ns] for name, s in stats])


def model_files(kind: str) -> list[str]:
    """Names of the files in ComfyUI's model folders of one kind, such as ``loras``."""
    import folder_paths

    return folder_paths.get_filename_list(kind)


def model_file(kind: str, name: str) -> Path:
    """One of `model_files` as a path."""
    import folder_paths

    return Path(folder_paths.get_full_path_or_raise(kind, name))


def file_fingerprint(file: Path) -> str:
    """Name, size and time: a new file of the same name is read again."""
    stat = file.stat()
    return f"{file.name} {stat.st_size} {stat.st_mtime_ns}"
