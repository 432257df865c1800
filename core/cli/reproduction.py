"""``reproduce``: published experiments run again, one sub-command a paper."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..casework.request import ModelRequest
from .flags import add_command, add_flags, add_steps, given, refuse_flags
from .terminal import Bars, say


def add(commands: Any) -> None:
    """``reproduce mia`` and ``reproduce localization``."""
    text = "a paper's experiments, published values beside ours"
    papers = add_steps(commands, "reproduce", text, "PAPER")
    _mia(papers)
    _localization(papers)


def _mia(papers: Any) -> None:
    text = "the thirteen experiments of arXiv 2502.11619 (black-box membership inference)"
    p = add_command(papers, "mia", text, _run)
    p.add_argument("--out", type=Path, required=True, help="folder, new or to resume")
    p.add_argument(
        "--scale",
        choices=("tiny", "sd15"),
        default="tiny",
        help="tiny: drawn faces, about 48 minutes of one quiet core; sd15: your base and photos "
        "(default: tiny)",
    )
    p.add_argument(
        "--rows", nargs="+", default=[], metavar="ROW", help="such as 2 4/400 8 base; default all"
    )
    p.add_argument("--plan", action="store_true", help="print what it costs and stop")
    p.add_argument("--base", type=Path, help="sd15: Stable Diffusion 1.5, folder or .safetensors")
    for name, who in (("dtu", "claimed"), ("aau", "other"), ("lfw", "public")):
        text = f"sd15: {who} photos, folders seen (with metadata.jsonl) and unseen"
        p.add_argument(f"--{name}", type=Path, help=text)
    p.add_argument("--logo", type=Path, help="picture of the watermark; else the built-in one")
    p.add_argument("--resnet", type=Path, help="sd15: ImageNet ResNet-18 as safetensors")
    p.add_argument("--models", type=Path, help="sd15: folder with the CLIP weights")
    p.add_argument("--images", type=int, default=0, help="images per arm; 0 = the scale's")
    p.add_argument("--steps", type=int, default=0, help="solver steps per image; 0 = the scale's")
    p.add_argument(
        "--training-steps", type=int, default=0, help="of the 400-epoch target; 0 = the scale's"
    )
    add_flags(p, ModelRequest, without=("minor_suspected",))


def _localization(papers: Any) -> None:
    text = "the tables of arXiv 2311.04584 (localizing what a diffusion model repainted)"
    p = add_command(papers, "localization", text, _run_localization)
    p.add_argument("--out", type=Path, required=True, help="folder, new or to resume")
    p.add_argument(
        "--scale",
        choices=("tiny", "full"),
        default="tiny",
        help="tiny: drawn faces, narrow networks; full: your set, the paper's settings "
        "(default: tiny)",
    )
    p.add_argument("--seeds", type=int, default=0, help="trainings per cell; 0 = the scale's")
    p.add_argument("--examples", type=Path, help="full: folder of `inpaint --whole N`")
    p.add_argument("--main", help="full: generator of the main table, such as repaint_pixel")
    p.add_argument(
        "--generators", nargs="+", default=[], help="full: of the train-on-one, test-on-another"
    )
    p.add_argument("--outside", type=Path, nargs="+", default=[], help="full: sets to test on")
    p.add_argument("--imagenet", type=Path, help="full: Grad-CAM's start (legacy_xception)")
    p.add_argument("--ffd", type=Path, help="full: Attention's start, as safetensors")
    p.add_argument("--device", default="cpu", help="cpu, cuda (default: cpu)")


def _run_localization(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from ..studies.reproduction.localization.experiments import (
        TABLE,
        LocalizationRun,
        reproduce_localization,
    )
    from ..studies.reproduction.localization.scales import TINY, full_scale

    if args.scale == "tiny":
        refuse_flags(args, ("examples", "main", "generators", "outside", "imagenet", "ffd"), "full")
        scale = replace(TINY, seeds=args.seeds or TINY.seeds)
    else:
        main = args.main or "repaint_pixel"
        scale = full_scale(main, tuple(dict.fromkeys([main, *args.generators])), args.seeds or 1)
    weights = {"gradcam": args.imagenet, "attention": args.ffd}
    asked = LocalizationRun(
        out=args.out,
        scale=scale,
        examples=args.examples,
        outside=tuple(args.outside),
        weights={method: path for method, path in weights.items() if path is not None},
        device=args.device,
        command=args.command_line,
    )
    with Bars() as bars:
        reproduce_localization(asked, progress=bars, announce=say)
    print((args.out / TABLE).read_text(encoding="utf-8"))


def _run(args: argparse.Namespace) -> None:
    from ..studies.reproduction.budget import describe, stages_of
    from ..studies.reproduction.experiments import TABLE, Reproduction, reproduce, scale_of
    from ..studies.reproduction.folders import Folders
    from ..studies.reproduction.rows import select_rows

    scale = scale_of(
        args.scale, images=args.images, sampling=args.steps, training=args.training_steps
    )
    if scale.seen:
        refuse_flags(args, ("base", "dtu", "aau", "lfw", "resnet", "models"), "sd15")
    if args.plan:
        print(describe(stages_of(select_rows(args.rows), scale, args.out), scale))
        return
    folders = Folders(**given(Folders, args))
    asked = Reproduction(args.out, scale, tuple(args.rows), folders, args.command_line)
    with Bars() as bars:
        reproduce(asked, progress=bars, announce=say)
    print((args.out / TABLE).read_text(encoding="utf-8"))
