"""Flags say what records say: names, defaults, choices, bounds; every help page can be read."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from lora_forensics.core.attack.baselines import BASELINES
from lora_forensics.core.casework import localizers, request
from lora_forensics.core.casework.request import (
    BaselineRequest,
    CaptionRequest,
    DecoyRequest,
    ExplainRequest,
    InpaintRequest,
    LocalizeRequest,
    LocalizerRequest,
    RankRequest,
    Request,
    SampleRequest,
    TrainRequest,
    WatermarkRequest,
)
from lora_forensics.core.cli import build_parser, main
from lora_forensics.core.cli.cases import settings_of
from lora_forensics.core.cli.flags import request_of
from lora_forensics.core.cli.terminal import Bars
from lora_forensics.core.errors import InputError
from lora_forensics.core.images import watermark
from lora_forensics.core.inpainting import classical, masks
from lora_forensics.core.localization import classifiers
from lora_forensics.core.localization.settings import LocalizerSpec, paper_spec
from lora_forensics.core.lora import writing
from lora_forensics.core.specs import (
    FINETUNE_PRESETS,
    PRESETS,
    REPAINT_PRESETS,
    DecoySpec,
    MembershipSpec,
    SampleSpec,
)

SUSPECT = {"base": Path("b"), "tuned": Path("l"), "out": Path("o")}
CASE = {**SUSPECT, "photos": Path("p"), "controls": Path("c")}
SUSPECT_FLAGS = ["--base", "b", "--lora", "l", "--out", "o"]
CASE_FLAGS = [*SUSPECT_FLAGS, "--photos", "p", "--controls", "c"]


def commands(parser, name=()):
    """Every parser with the words that lead to it."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, (*name, word))


PARSERS = dict(commands(build_parser()))


@pytest.mark.parametrize("name", PARSERS, ids=" ".join)
def test_every_help_page_can_be_read(name):
    page = PARSERS[name].format_help()
    assert "None" not in page
    assert "[]" not in page
    options = [a for a in PARSERS[name]._actions if a.option_strings]
    assert all(action.help for action in options)
    assert not [flag for a in options for flag in a.option_strings if "_" in flag]


def asked(record, *argv, **more):
    return request_of(record, build_parser().parse_args([*argv]), **more)


PHOTOS = ["--photos", "p", "--out", "o"]
PLACES = {"photos": Path("p"), "out": Path("o")}
LEAST = [
    (Request, ["screen", *CASE_FLAGS], CASE),
    (SampleRequest, ["sample", *SUSPECT_FLAGS, "--prompt", "x"], {**SUSPECT, "prompts": ("x",)}),
    (DecoyRequest, ["decoys", "make", *PHOTOS], PLACES),
    (RankRequest, ["decoys", "rank", *SUSPECT_FLAGS, "--photos", "p", "--secret", "s"],
     {**SUSPECT, "photos": Path("p"), "secret": Path("s")}),
    (TrainRequest, ["train", *PHOTOS, "--base", "b"], {**PLACES, "base": Path("b")}),
    (CaptionRequest, ["caption", *PHOTOS, "--blip", "b"], {**PLACES, "blip": Path("b")}),
    (WatermarkRequest, ["watermark", *PHOTOS], PLACES),
    (InpaintRequest, ["inpaint", *PHOTOS], PLACES),
    (LocalizeRequest, ["localize", "a", "b"], {"pictures": (Path("a"), Path("b"))}),
    (LocalizerRequest, ["localizer", "train", "--examples", "e", "--out", "o"],
     {"examples": Path("e"), "out": Path("o")}),
    (ExplainRequest,
     ["localizer", "gradcam", "a", "--classifier", "c", "--architecture", "r", "--layer", "y"],
     {"pictures": (Path("a"),), "classifier": Path("c"), "architecture": "r", "layer": "y"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "argv", "fields"), LEAST, ids=lambda v: getattr(v, "__name__", "")
)
def test_flags_that_are_not_given_leave_the_record_s_values(record, argv, fields):
    assert asked(record, *argv) == record(**fields)


MORE = [
    (Request, [*LEAST[0][1], "--prompt", "x", "--prompt", "y", "--no-pictures", "--exchangeable"],
     {"prompts": ("x", "y"), "pictures": False, "exchangeable": True}),
    (SampleRequest, [*LEAST[1][1], "--cfg", "0", "--cfg", "3", "--base-cfg", "1", "--guidance",
                     "1.5", "--images", "2", "--steps", "4", "--dtype", "float16"],
     {"cfgs": (0.0, 3.0), "base_cfgs": (1.0,), "weights": (1.5,), "images": 2,
      "spec": SampleSpec(steps=4), "dtype": "float16"}),
    (DecoyRequest, [*LEAST[2][1], "--kind", "token", "--minor-suspected"],
     {"spec": DecoySpec(kind="token"), "minor_suspected": True}),
    (RankRequest, [*LEAST[3][1], "--timesteps", "3", "4"],
     {"spec": MembershipSpec(timesteps=(3, 4))}),
    (TrainRequest, [*LEAST[4][1], "--preset", "paper", "--steps", "5", "--caption", "a face"],
     {"spec": replace(FINETUNE_PRESETS["paper"], steps=5), "caption": "a face"}),
    (InpaintRequest, [*LEAST[7][1], "--generators", "telea", "lama", "--preset", "paper"],
     {"generators": ("telea", "lama"), "spec": REPAINT_PRESETS["paper"]}),
    (LocalizerRequest, [*LEAST[9][1], "--outside", "a", "b", "--setup", "C"],
     {"outside": (Path("a"), Path("b")), "setup": "C"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "argv", "fields"), MORE, ids=lambda v: getattr(v, "__name__", "")
)
def test_flags_that_are_given_set_the_record_s_values(record, argv, fields):
    least = next(fields for known, _, fields in LEAST if known is record)
    assert asked(record, *argv) == record(**least, **fields)


def test_sections_of_a_case_override_its_preset():
    flags = ["--membership-nulls", "3", "--attack-preset", "paper", "--attack-seeds", "2"]
    spec = settings_of(build_parser().parse_args(["screen", *CASE_FLAGS, *flags]))
    assert spec.membership == replace(PRESETS["standard"].membership, nulls=3)
    assert (spec.attack.seeds, spec.attack.epochs) == (2, 20)
    alone = build_parser().parse_args(["score", "--preset", "deep", *CASE_FLAGS, "--nulls", "3"])
    assert settings_of(alone).membership == replace(PRESETS["deep"].membership, nulls=3)


@pytest.mark.parametrize(
    ("more", "spec"),
    [
        (["--setup", "B"], LocalizerSpec(supervision="labels", batch=3)),
        (["--setup", "B", "--paper"], replace(paper_spec("patches", "B"), batch=3)),
        (
            ["--setup", "C", "--paper", "--method", "attention"],
            replace(paper_spec("attention", "C"), batch=3),
        ),
    ],
)
def test_a_localizer_starts_from_its_setup_or_from_the_paper(monkeypatch, more, spec):
    seen = []
    monkeypatch.setattr(localizers, "train_files", lambda asked, **_: (seen.append(asked), None))
    assert main([*LEAST[9][1], "--batch", "3", *more]) == 0
    assert seen[0].spec == spec


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["inpaint", *PHOTOS, "--generators", "magic"], "invalid choice: 'magic'"),
        (["inpaint", *PHOTOS, "--masks", "stars"], "invalid choice: 'stars'"),
        ([*LEAST[4][1], "--caption", "a", "--captions", "b"], "not allowed with argument"),
        (["sample", *SUSPECT_FLAGS], "arguments are required: --prompt"),
        (["baselines", *CASE_FLAGS, "--methods", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_what_a_flag_does_not_take_is_refused(argv, said, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(argv)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "given", "said"),
    [
        (InpaintRequest, {**PLACES, "generators": ("magic",)}, "generators is 'magic'; choose one"),
        (InpaintRequest, {**PLACES, "masks": "stars"}, "masks is 'stars'; choose one of mixed"),
        (TrainRequest, {**PLACES, "base": Path(), "layout": "x"}, "layout is 'x'; choose one"),
        (WatermarkRequest, {**PLACES, "kind": "x"}, "kind is 'x'; choose one of visible, faint"),
        (LocalizerRequest, {"examples": Path(), "out": Path(), "setup": "D"}, "setup is 'D'"),
        (BaselineRequest, {"case": None, "methods": ("magic",)}, "methods is 'magic'; choose"),
    ],
)
def test_a_request_is_checked_without_flags_too(record, given, said):
    with pytest.raises(InputError, match="BAD_SETTING") as error:
        record(**given)
    assert said in str(error.value)


def choices_of(record, name):
    return record.__dataclass_fields__[name].metadata["choices"]


def test_flags_offer_what_the_rooms_know():
    assert set(choices_of(BaselineRequest, "methods")) == set(BASELINES)
    diffusion = ("repaint", "pixel")
    assert choices_of(InpaintRequest, "generators") == (*diffusion, *classical.METHODS, "lama")
    assert choices_of(InpaintRequest, "masks") == ("mixed", *masks.KINDS, request.PART_MASKS)
    assert choices_of(InpaintRequest, "white") == masks.WHITE
    assert choices_of(WatermarkRequest, "kind") == tuple(watermark.KINDS)
    assert choices_of(TrainRequest, "layout") == writing.LAYOUTS
    assert choices_of(ExplainRequest, "normalization") == tuple(classifiers.MEANS)


def test_bars_are_closed_however_their_block_ends():
    opened = []

    def work(stop):
        with Bars() as bars:
            bars.start("work", 3)
            opened.append(bars._bar)
            if stop:
                raise KeyboardInterrupt

    work(stop=False)
    with pytest.raises(KeyboardInterrupt):
        work(stop=True)
    assert [bar.disable for bar in opened] == [True, True]  # tqdm's mark of a closed bar
