"""``train``, ``caption`` and ``watermark``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..specs import FINETUNE_PRESETS, FinetuneSpec
from .bars import Bars, say
from .flags import model_flags, override, spec_flags

LORA_ONLY = ("rank", "layers", "alpha", "layout")


def add(commands: Any) -> None:
    """The commands that make training data and models."""
    _train_command(commands)
    _caption_command(commands)
    _watermark_command(commands)


def _parser(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    p = commands.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--photos", type=Path, required=True, help="folder of photos")
    p.add_argument("--minor-suspected", action="store_true", help="stop before any picture")
    return p


def _train_command(commands: Any) -> None:
    p = _parser(commands, "train", "fine-tune a base on photos: a LoRA, or the whole UNet")
    p.add_argument("--base", type=Path, required=True, help="diffusers folder or .safetensors")
    p.add_argument("--out", type=Path, required=True, help="case folder, new or to resume")
    texts = p.add_mutually_exclusive_group()
    texts.add_argument("--captions", type=Path, help="metadata.jsonl with a caption a photo")
    texts.add_argument("--caption", default="", help="one caption for all photos")
    p.add_argument("--name", default="trained", help="of the output")
    p.add_argument(
        "--layout", choices=("kohya", "diffusers"), default=argparse.SUPPRESS,
        help="of a LoRA (default: kohya)",
    )  # fmt: skip
    p.add_argument("--preset", choices=tuple(FINETUNE_PRESETS), default="quick", help="settings")
    model_flags(p)
    spec_flags(p, FinetuneSpec, "")
    p.set_defaults(run=_train)


def _caption_command(commands: Any) -> None:
    p = _parser(commands, "caption", "caption photos with BLIP, from weights that you bring")
    p.add_argument("--blip", type=Path, required=True, help="folder with BLIP's files")
    p.add_argument("--prefix", default="", help="beginning of every caption")
    p.add_argument("--out", type=Path, required=True, help="metadata.jsonl, or its folder")
    p.add_argument("--device", default="cpu", help="cpu, cuda")
    p.set_defaults(run=_caption)


def _watermark_command(commands: Any) -> None:
    p = _parser(commands, "watermark", "lay a logo on photos")
    p.add_argument("--logo", type=Path, help="PNG, JPEG or WebP; else a built-in one")
    p.add_argument("--kind", choices=("visible", "faint"), default="visible", help="which mark")
    p.add_argument("--out", type=Path, required=True, help="folder of the marked photos")
    p.set_defaults(run=_watermark)


def _train(args: argparse.Namespace) -> int:
    from ..casework.training import TrainRequest, train_files

    request = TrainRequest(
        base=args.base,
        photos=args.photos,
        out=args.out,
        captions=args.captions,
        caption=args.caption,
        name=args.name,
        layout=getattr(args, "layout", "kohya"),
        spec=_settings(args),
        device=args.device,
        dtype=args.dtype,
        minor_suspected=args.minor_suspected,
    )
    bars = Bars()
    try:
        written = train_files(request, progress=bars, announce=say)
    finally:
        bars.close()
    print(*written, sep="\n")
    return 0


def _settings(args: argparse.Namespace) -> FinetuneSpec:
    spec = override(FINETUNE_PRESETS[args.preset], args, "")
    given = [f"--{name}" for name in LORA_ONLY if getattr(args, name, None) is not None]
    if spec.method == "full" and given:
        raise InputError(
            "BAD_SETTING",
            f"{', '.join(given)} given with method full; these belong to a LoRA: leave them out, "
            "or give --method lora",
        )
    return spec


def _caption(args: argparse.Namespace) -> int:
    from ..casework.training import caption_files

    bars = Bars()
    try:
        path = caption_files(
            args.photos, args.blip, args.out,
            prefix=args.prefix, device=args.device, minor_suspected=args.minor_suspected,
            progress=bars,
        )  # fmt: skip
    finally:
        bars.close()
    print(path)
    return 0


def _watermark(args: argparse.Namespace) -> int:
    from ..casework.training import watermark_files

    bars = Bars()
    try:
        written = watermark_files(
            args.photos, args.out,
            kind=args.kind, logo=args.logo, minor_suspected=args.minor_suspected, progress=bars,
        )  # fmt: skip
    finally:
        bars.close()
    print(f"{len(written)} marked photos in {args.out}")
    return 0
