"""``inpaint``, ``localizer`` and ``localize``: where was a photo repainted?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..localization.settings import METHOD_NAMES, SETUPS, LocalizerSpec, LocalizeSpec, paper_spec
from ..specs import REPAINT_PRESETS, RepaintSpec
from .bars import Bars, say
from .flags import override, spec_flags

MEANS = ("imagenet", "half")


def add(commands: Any) -> None:
    """The data, the networks, the answer."""
    _localize_command(commands)
    _inpaint_command(commands)
    _localizer_command(commands)


def _localize_command(commands: Any) -> None:
    p = commands.add_parser("localize", help="where was a photo repainted by a diffusion model?")
    p.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="files, or folders")
    p.add_argument("--model", type=Path, help="localiser; default: the small one that is shipped")
    p.add_argument("--out", type=Path, default=Path("localized"), help="folder of maps and pages")
    p.add_argument("--device", default="cpu", help="cpu, cuda")
    spec_flags(p, LocalizeSpec, "")
    p.set_defaults(run=_localize)


def _inpaint_command(commands: Any) -> None:
    p = commands.add_parser(
        "inpaint",
        help="repaint photos: spliced, regenerated and decoded pictures with masks",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--photos", type=Path, required=True, help="folder of photos")
    p.add_argument("--out", type=Path, required=True, help="folder of the set, new or to resume")
    p.add_argument(
        "--generators", nargs="+", default=["telea"],
        help="repaint (RePaint by --base), pixel (by --pixel-model), telea, navier_stokes, lama",
    )  # fmt: skip
    p.add_argument("--masks", default="mixed", help="mixed, rectangle, free_form, parts")
    p.add_argument("--mask-folder", type=Path, help="a mask, or a parsed face, named as each photo")
    p.add_argument(
        "--white", choices=("repainted", "untouched"), default="repainted", help="in mask files"
    )
    p.add_argument("--base", type=Path, help="diffusers folder or .safetensors that repaints")
    p.add_argument("--lora", type=Path, help="adapter on it")
    p.add_argument("--pixel-model", type=Path, help="diffusers folder of a model of pixels")
    p.add_argument("--lama", type=Path, help="LaMa's generator as .safetensors")
    p.add_argument("--prompt", default="", help="of the latent model")
    p.add_argument(
        "--whole", type=int, default=0, metavar="N",
        help="whole pictures that each diffusion generator draws beside (setup A's fakes)",
    )  # fmt: skip
    p.add_argument("--side", type=int, default=0, help="pixels; 0 = the models', or 256")
    p.add_argument("--preset", choices=tuple(REPAINT_PRESETS), default="practical", help="RePaint")
    p.add_argument("--device", default="cpu", help="cpu, cuda")
    p.add_argument("--minor-suspected", action="store_true", help="stop before any picture")
    spec_flags(p, RepaintSpec, "", without=("model",))
    p.set_defaults(run=_inpaint)


def _localizer_command(commands: Any) -> None:
    p = commands.add_parser("localizer", help="train a localiser, or show what one can do")
    steps = p.add_subparsers(required=True, metavar="STEP")
    train = steps.add_parser("train", help="train one on a set of `inpaint`")
    train.add_argument("--examples", type=Path, required=True, help="folder that `inpaint` made")
    train.add_argument("--out", type=Path, required=True, help="case folder, new or to resume")
    train.add_argument(
        "--setup", choices=tuple(SETUPS), default="practical",
        help="A: labels, whole fakes; B: labels, spliced; C: masks, spliced; practical: masks, "
        "spliced, regenerated, decoded and untouched",
    )  # fmt: skip
    train.add_argument(
        "--outside", type=Path, nargs="+", default=[], help="sets to measure on, never to train on"
    )
    train.add_argument("--weights", type=Path, help="first weights, such as ImageNet's Xception")
    train.add_argument("--paper", action="store_true", help="the paper's settings of the setup")
    train.add_argument("--device", default="cpu", help="cpu, cuda")
    spec_flags(train, LocalizerSpec, "", without=("supervision",))
    train.set_defaults(run=_train)
    measure = steps.add_parser("measure", help="a localiser's figures on a set of `inpaint`")
    measure.add_argument("model", type=Path)
    measure.add_argument("--examples", type=Path, required=True, help="folder of `inpaint`")
    measure.add_argument("--device", default="cpu", help="cpu, cuda")
    measure.set_defaults(run=_measure)
    cam = steps.add_parser("gradcam", help="what a classifier of your own looks at (Grad-CAM)")
    cam.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="files, or folders")
    cam.add_argument("--classifier", type=Path, required=True, help="weights as .safetensors")
    cam.add_argument(
        "--architecture", required=True, help="of torchvision, such as resnet50; or timm/NAME"
    )
    cam.add_argument("--layer", required=True, help="such as layer4, or block11 of an Xception")
    cam.add_argument("--target", type=int, default=1, help="class, from 0 (default 1)")
    cam.add_argument("--side", type=int, default=224, help="input pixels (default 224)")
    cam.add_argument("--normalisation", choices=tuple(MEANS), default=MEANS[0])
    cam.add_argument("--out", type=Path, default=Path("explained"), help="folder of heat maps")
    cam.add_argument("--device", default="cpu", help="cpu, cuda")
    cam.set_defaults(run=_gradcam)
    show = steps.add_parser("show", help="a localiser's card: what it was trained on and can do")
    show.add_argument("model", type=Path)
    show.set_defaults(run=_show)


def _localize(args: argparse.Namespace) -> int:
    from ..casework.localizing import LocalizeRequest, localize_files

    request = LocalizeRequest(
        tuple(args.images), args.out, args.model, override(LocalizeSpec(), args, ""), args.device
    )
    bars = Bars()
    try:
        found = localize_files(request, progress=bars, announce=say)
    finally:
        bars.close()
    for one in found:
        if one.page is None:
            print(f"{one.file}: {one.error}")
        elif one.blank:
            print(f"{one.file}: score {one.score:.3f}, untouched pictures of this size score as "
                  f"high too often; map withheld: {one.page}")  # fmt: skip
        else:
            print(f"{one.file}: score {one.score:.3f}, {one.area:.1%} marked: {one.page}")
    return 2 if any(one.page is None for one in found) else 0


def _inpaint(args: argparse.Namespace) -> int:
    from ..casework.inpainting import InpaintRequest, inpaint_files

    request = InpaintRequest(
        photos=args.photos,
        out=args.out,
        generators=tuple(args.generators),
        masks=args.masks,
        mask_folder=args.mask_folder,
        white=args.white,
        base=args.base,
        lora=args.lora,
        pixel_model=args.pixel_model,
        lama=args.lama,
        prompt=args.prompt,
        whole=args.whole,
        side=args.side,
        spec=override(REPAINT_PRESETS[args.preset], args, ""),
        device=args.device,
        minor_suspected=args.minor_suspected,
    )
    bars = Bars()
    try:
        made = inpaint_files(request, progress=bars, announce=say)
    finally:
        bars.close()
    print(f"{len(made)} pictures listed in {args.out / 'examples.jsonl'}")
    return 0


def _train(args: argparse.Namespace) -> int:
    from ..casework.localizers import LocalizerRequest, train_files

    setup = SETUPS[args.setup]
    start = LocalizerSpec(supervision=setup.supervision)
    if args.paper:
        start = paper_spec(args.method or METHOD_NAMES[0], args.setup)
    request = LocalizerRequest(
        args.examples,
        args.out,
        args.setup,
        tuple(args.outside),
        args.weights,
        override(start, args, ""),
        args.device,
    )
    bars = Bars()
    try:
        path, _ = train_files(request, progress=bars, announce=say)
    finally:
        bars.close()
    print(path)
    return 0


def _measure(args: argparse.Namespace) -> int:
    from ..casework.localizers import measure_file
    from ..casework.localizing import words_of_card

    bars = Bars()
    try:
        found = measure_file(args.model, args.examples, device=args.device, progress=bars)
    finally:
        bars.close()
    print(words_of_card(found))
    return 0


def _gradcam(args: argparse.Namespace) -> int:
    from ..casework.explaining import ExplainRequest, explain_files

    request = ExplainRequest(
        tuple(args.images), args.out, args.classifier, args.architecture, args.layer, args.target,
        args.side, args.normalisation, args.device,
    )  # fmt: skip
    bars = Bars()
    try:
        found = explain_files(request, progress=bars)
    finally:
        bars.close()
    for one in found:
        print(f"{one.file}: class {args.target} has probability {one.probability:.3f} (logit "
              f"{one.logit:.3f}); the map's peak is 1 on every picture: {one.heat}")  # fmt: skip
    return 0


def _show(args: argparse.Namespace) -> int:
    from ..casework.localizing import words_of_card
    from ..localization.files import load_localizer

    found = load_localizer(args.model)
    print(words_of_card(found))
    print(*(f"  {limit}" for limit in found.card.limits), sep="\n")
    return 0
