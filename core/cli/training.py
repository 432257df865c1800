"""``train``, ``caption`` and ``watermark``."""

from __future__ import annotations

import argparse
from typing import Any

from ..casework.request import CaptionRequest, TrainRequest, WatermarkRequest
from ..errors import InputError, plural
from .flags import add_command, add_flags, request_of
from .terminal import Bars, say

LORA_ONLY = ("rank", "layers", "alpha", "layout")


def add(commands: Any) -> None:
    """The commands that make training data and models."""
    text = "fine-tune a base on photos: a LoRA, or the whole UNet"
    add_flags(add_command(commands, "train", text, _train), TrainRequest)
    text = "caption photos with BLIP, from weights that you bring"
    add_flags(add_command(commands, "caption", text, _caption), CaptionRequest)
    add_flags(add_command(commands, "watermark", "lay a logo on photos", _mark), WatermarkRequest)


def _train(args: argparse.Namespace) -> None:
    from ..casework.training import train_files

    request = request_of(TrainRequest, args)
    unread = [f"--{name}" for name in LORA_ONLY if name in args]
    if request.spec.method == "full" and unread:
        raise InputError(
            "BAD_SETTING",
            f"{', '.join(unread)} given with method full; these belong to a LoRA: leave them out, "
            "or give --method lora",
        )
    with Bars() as bars:
        written = train_files(request, progress=bars, announce=say)
    print(*written, sep="\n")


def _caption(args: argparse.Namespace) -> None:
    from ..casework.training import caption_files

    with Bars() as bars:
        print(caption_files(request_of(CaptionRequest, args), progress=bars))


def _mark(args: argparse.Namespace) -> None:
    from ..casework.training import watermark_files

    request = request_of(WatermarkRequest, args)
    with Bars() as bars:
        written = watermark_files(request, progress=bars)
    print(f"{plural(len(written), 'marked photo')} in {request.out}")
