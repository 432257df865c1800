"""``inpaint``, ``localizer`` and ``localize``: where was a photo repainted?"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..casework.request import ExplainRequest, InpaintRequest, LocalizeRequest, LocalizerRequest
from ..errors import plural
from ..localization.settings import SETUPS, LocalizerSpec, paper_spec
from .flags import add_command, add_flags, add_steps, override, request_of
from .terminal import EXIT_DONE, EXIT_INPUT, Bars, say


def add(commands: Any) -> None:
    """The data, the networks, the answer."""
    text = "where was a photo repainted by a diffusion model?"
    add_flags(add_command(commands, "localize", text, _localize), LocalizeRequest)
    text = "repaint photos: spliced, regenerated and decoded pictures with masks"
    add_flags(add_command(commands, "inpaint", text, _inpaint), InpaintRequest)
    steps = add_steps(commands, "localizer", "train a localizer, or show what one can do")
    train = add_command(steps, "train", "train one on a set of `inpaint`", _train)
    add_flags(train, LocalizerRequest)
    train.add_argument(
        "--paper", action="store_true", help="start from the paper's settings of the setup"
    )
    measure = add_command(steps, "measure", "a localizer's figures on a set of `inpaint`", _measure)
    measure.add_argument("model", type=Path, help="file of a localizer")
    measure.add_argument("--examples", type=Path, required=True, help="folder of `inpaint`")
    measure.add_argument("--device", default="cpu", help="cpu, cuda (default: cpu)")
    text = "what a classifier of your own looks at (Grad-CAM)"
    add_flags(add_command(steps, "gradcam", text, _gradcam), ExplainRequest)
    text = "a localizer's card: what it was trained on and can do"
    show = add_command(steps, "show", text, _show)
    show.add_argument("model", type=Path, help="file of a localizer")


def _localize(args: argparse.Namespace) -> int:
    from ..casework.localizing import localize_files

    with Bars() as bars:
        pictures = localize_files(request_of(LocalizeRequest, args), progress=bars, announce=say)
    for one in pictures:
        if one.page is None:
            print(f"{one.file}: {one.error}")
        elif one.blank:
            print(f"{one.file}: score {one.score:.3f}, untouched pictures of this size score as "
                  f"high too often; map withheld: {one.page}")  # fmt: skip
        else:
            print(f"{one.file}: score {one.score:.3f}, {one.area:.1%} marked: {one.page}")
    return EXIT_INPUT if any(one.page is None for one in pictures) else EXIT_DONE


def _inpaint(args: argparse.Namespace) -> None:
    from ..casework.inpainting import inpaint_files

    request = request_of(InpaintRequest, args)
    with Bars() as bars:
        examples = inpaint_files(request, progress=bars, announce=say)
    print(f"{plural(len(examples), 'picture')} listed in {request.out / 'examples.jsonl'}")


def _train(args: argparse.Namespace) -> None:
    from ..casework.localizers import train_files

    asked = request_of(LocalizerRequest, args)
    start = LocalizerSpec(supervision=SETUPS[asked.setup].supervision)
    if args.paper:
        start = paper_spec(asked.spec.method, asked.setup)
    request = replace(asked, spec=override(start, args))
    with Bars() as bars:
        path, _ = train_files(request, progress=bars, announce=say)
    print(path)


def _measure(args: argparse.Namespace) -> None:
    from ..casework.localizers import measure_file
    from ..casework.localizing import words_of_card

    with Bars() as bars:
        measured = measure_file(args.model, args.examples, device=args.device, progress=bars)
    print(words_of_card(measured))


def _gradcam(args: argparse.Namespace) -> None:
    from ..casework.explaining import explain_files

    request = request_of(ExplainRequest, args)
    with Bars() as bars:
        explained = explain_files(request, progress=bars)
    for one in explained:
        print(f"{one.file}: class {request.target} has probability {one.probability:.3f} (logit "
              f"{one.logit:.3f}); the map's peak is 1 on every picture: {one.heat}")  # fmt: skip


def _show(args: argparse.Namespace) -> None:
    from ..casework.localizing import words_of_card
    from ..localization.files import load_localizer

    localizer = load_localizer(args.model)
    print(words_of_card(localizer))
    print(*(f"  {limit}" for limit in localizer.card.limits), sep="\n")
