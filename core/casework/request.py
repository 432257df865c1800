"""What a person asks for, as paths and settings: one record per command, of which flags derive.

Nothing heavy is imported, so that ``--help`` is instant; what a flag offers by name is what the
rooms below know by that name (`tests/unit/cli/test_flags.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..localization.settings import SETUPS, LocalizerSpec, LocalizeSpec
from ..specs import (
    FINETUNE_PRESETS,
    LINES,
    PRESETS,
    REPAINT_PRESETS,
    DecoySpec,
    FinetuneSpec,
    MembershipSpec,
    RepaintSpec,
    SampleSpec,
    ScreenSpec,
    Spec,
    required,
    setting,
    settings,
)

ARMS = ("centroid", "gan_leaks", "gan_leaks_cosine", "set_membership")
METHODS = (*ARMS, "reconstruction", "zero_shot")
GENERATORS = ("repaint", "pixel", "telea", "navier_stokes", "lama")
PART_MASKS = "parts"
MASK_KINDS = ("mixed", "rectangle", "free_form", PART_MASKS)


@dataclass(frozen=True, kw_only=True)
class PictureRequest(Spec):
    """Asked of everything that opens photos or draws pictures."""

    minor_suspected: bool = setting(
        False, "the material may show a minor: stop before any picture is opened or drawn"
    )


@dataclass(frozen=True, kw_only=True)
class ModelRequest(PictureRequest):
    """Asked of everything that runs a diffusion model."""

    device: str = setting("auto", "auto, cpu, cuda")
    dtype: str = setting("auto", "auto, float32, float16, bfloat16")


@dataclass(frozen=True, kw_only=True)
class SuspectRequest(ModelRequest):
    """A suspect on its base, and where the work goes."""

    base: Path = required("diffusers folder or .safetensors checkpoint")
    tuned: Path = required("suspect LoRA, or a full tuned checkpoint", flag="--lora")
    out: Path = required("case folder, new or to resume")


@dataclass(frozen=True, kw_only=True)
class Request(SuspectRequest):
    """A case: photos in question, controls, and lines of evidence about a suspect.

    Attributes:
        spec: all settings.
        lines: lines of evidence to run.
        command: the command line, for the report.
    """

    photos: Path = required("folder of the photos in question")
    controls: Path = required("folder of photos that were certainly not used")
    prompts: tuple[str, ...] = setting(
        (),
        "caption or trigger word, once per prompt; without any, the file's metadata tells",
        flag="--prompt",
        repeat=True,
    )
    encoder: str = setting("auto", "copy descriptor: auto, tiny, sscd, clip")
    models: Path | None = setting(None, "folder with weights that you bring")
    strength: float = setting(1.0, "adapter strength")
    exchangeable: bool = setting(
        False,
        "the controls are a hold-out of the photos' own source; without this no verdict A",
    )
    resnet: Path | None = setting(None, "ImageNet ResNet-18 as safetensors, for the attack")
    negatives: Path | None = setting(
        None, "folder of label-0 images for the attack", group="label_0"
    )
    shadow: Path | None = setting(
        None, "shadow LoRA whose images are label 0 for the attack", group="label_0"
    )
    placebos: Path | None = setting(
        None, "folder of LoRAs that never saw the photos, as null models"
    )
    rates: Path | None = setting(
        None, "rates.json of your own `calibrate` study; else the one that is shipped"
    )
    decoys: Path | None = setting(None, "rank.json of `decoys rank`: this suspect, these photos")
    captions: Path | None = setting(
        None,
        "metadata.jsonl naming every photo and control, for the deep signals and the baseline "
        "reconstruction",
    )
    pictures: bool = setting(
        True, "keep no small picture of the photos for the report", flag="--no-pictures"
    )
    spec: ScreenSpec = field(default=PRESETS["standard"])
    lines: tuple[str, ...] = LINES
    command: str = ""

    @property
    def attack_weights(self) -> Path | None:
        """Weights that the attack starts from; None where it starts at random or does not run."""
        return self.resnet if "attack" in self.lines else None

    @property
    def label_0(self) -> tuple[str, Path | None]:
        """Where the attack's label-0 images come from, and the folder or LoRA that gives them."""
        if "attack" in self.lines and self.negatives is not None:
            return "folder", self.negatives
        if "attack" in self.lines and self.shadow is not None:
            return "shadow", self.shadow
        return "base", None


@dataclass(frozen=True, kw_only=True)
class BaselineRequest(Spec):
    """Which baselines to run on a suspect.

    Attributes:
        case: base, suspect, photos, controls, folder, encoder; its attack settings draw the arms.
    """

    case: Request
    methods: tuple[str, ...] = setting(ARMS, "which baselines", choices=METHODS)
    member_text: str = setting("", "zero-shot: what a member would look like")
    other_text: str = setting("", "zero-shot: what others look like")

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of members and of others, as far as given."""
        return tuple(text for text in (self.member_text, self.other_text) if text)


@dataclass(frozen=True, kw_only=True)
class SampleRequest(SuspectRequest):
    """What to sample: each noise under every guidance rule."""

    prompts: tuple[str, ...] = required("once per prompt", flag="--prompt", repeat=True)
    cfgs: tuple[float, ...] = setting(
        (), "guidance scale of the tuned model, once per scale", flag="--cfg", repeat=True
    )
    base_cfgs: tuple[float, ...] = setting(
        (), "guidance scale of the base, once per scale", flag="--base-cfg", repeat=True
    )
    weights: tuple[float, ...] = setting(
        (), "weight w' of model guidance, once per weight", flag="--guidance", repeat=True
    )
    images: int = setting(8, "noises, each under every rule; prompts take turns", low=1)
    spec: SampleSpec = settings(SampleSpec())


@dataclass(frozen=True, kw_only=True)
class DecoyRequest(PictureRequest):
    """Variants of a photo set, of which one is published."""

    photos: Path = required("folder of your photos")
    out: Path = required("new folder")
    spec: DecoySpec = settings(DecoySpec())


@dataclass(frozen=True, kw_only=True)
class RankRequest(SuspectRequest):
    """The rank of the published variant among its decoys in a suspect."""

    secret: Path = required("secret.json of `decoys make`")
    photos: Path = required("the same photos as then")
    prompt: str = setting("", "caption of all photos; tokens bring their own")
    spec: MembershipSpec = settings(
        MembershipSpec(),
        without=("signals", "nulls", "counterfactuals", "null_noises", "permutations"),
    )


@dataclass(frozen=True, kw_only=True)
class TrainRequest(ModelRequest):
    """What to train on which photos; full training takes float32 where `dtype` is ``auto``."""

    base: Path = required("diffusers folder or .safetensors checkpoint")
    photos: Path = required("folder of training photos")
    out: Path = required("case folder, new or to resume: states, result and loss log")
    captions: Path | None = setting(None, "metadata.jsonl with a caption per photo", group="texts")
    caption: str = setting("", "one caption for all photos", group="texts")
    name: str = setting("trained", "of the output")
    layout: str = setting("kohya", "of a LoRA file", choices=("kohya", "diffusers"))
    spec: FinetuneSpec = settings(FINETUNE_PRESETS["quick"], presets=FINETUNE_PRESETS)


@dataclass(frozen=True, kw_only=True)
class CaptionRequest(PictureRequest):
    """Captions of a folder of photos."""

    photos: Path = required("folder of photos")
    blip: Path = required("folder with BLIP's files")
    out: Path = required("the new metadata.jsonl, or its folder")
    prefix: str = setting("", "beginning of every caption")
    device: str = setting("cpu", "cpu, cuda")


@dataclass(frozen=True, kw_only=True)
class WatermarkRequest(PictureRequest):
    """A logo on every photo of a folder."""

    photos: Path = required("folder of photos")
    out: Path = required("folder of the marked photos, another one")
    logo: Path | None = setting(None, "PNG, JPEG or WebP; else a built-in one")
    kind: str = setting("visible", "which mark", choices=("visible", "faint"))


@dataclass(frozen=True, kw_only=True)
class InpaintRequest(PictureRequest):
    """Which photos are repainted by what."""

    photos: Path = required("folder of photos")
    out: Path = required("folder of the set, new or to resume")
    generators: tuple[str, ...] = setting(
        ("telea",),
        "RePaint by --base or --pixel-model, OpenCV's two methods, LaMa",
        choices=GENERATORS,
    )
    masks: str = setting("mixed", "drawn masks, or those of --mask-folder", choices=MASK_KINDS)
    mask_folder: Path | None = setting(
        None, "a mask, or a parsed face for parts, named as each photo"
    )
    white: str = setting(
        "repainted", "what white is in mask files", choices=("repainted", "untouched")
    )
    base: Path | None = setting(None, "diffusers folder or .safetensors that repaints")
    lora: Path | None = setting(None, "adapter on it that repaints; else the base does")
    pixel_model: Path | None = setting(None, "diffusers folder of a model of pixels")
    lama: Path | None = setting(None, "LaMa's generator as .safetensors")
    prompt: str = setting("", "of the latent model")
    whole: int = setting(
        0, "whole pictures that each diffusion generator draws beside (setup A's fakes)", low=0
    )
    side: int = setting(0, "pixels; 0 = the models', or 256", low=0)
    device: str = setting("cpu", "cpu, cuda")
    spec: RepaintSpec = settings(
        REPAINT_PRESETS["practical"], without=("model",), presets=REPAINT_PRESETS
    )


@dataclass(frozen=True, kw_only=True)
class LocalizeRequest(Spec):
    """Which pictures are looked at by which localizer; each gets a folder named after it."""

    pictures: tuple[Path, ...] = required("files, or folders", flag="IMAGE")
    model: Path | None = setting(None, "localizer; else the small one that is shipped")
    out: Path = setting(Path("localized"), "folder of maps and pages")
    device: str = setting("cpu", "cpu, cuda")
    spec: LocalizeSpec = settings(LocalizeSpec())


@dataclass(frozen=True, kw_only=True)
class LocalizerRequest(Spec):
    """What a localizer is trained on, and how."""

    examples: Path = required("folder that `inpaint` made")
    out: Path = required("case folder, new or to resume; the file is written into it")
    setup: str = setting(
        "practical",
        "A: labels, whole fakes; B: labels, spliced; C: masks, spliced; practical: masks, "
        "spliced, regenerated, decoded and untouched",
        choices=tuple(SETUPS),
    )
    outside: tuple[Path, ...] = setting((), "sets to measure on, never to train on")
    weights: Path | None = setting(None, "first weights, such as ImageNet's of legacy_xception")
    device: str = setting("cpu", "cpu, cuda")
    spec: LocalizerSpec = settings(LocalizerSpec(), without=("supervision",))


@dataclass(frozen=True, kw_only=True)
class ExplainRequest(Spec):
    """Which pictures, which classifier; each gets a map and a heat map."""

    pictures: tuple[Path, ...] = required("files, or folders", flag="IMAGE")
    classifier: Path = required("weights as .safetensors")
    architecture: str = required("of torchvision, such as resnet50; or timm/NAME")
    layer: str = required("such as layer4, or block11 of an Xception")
    out: Path = setting(Path("explained"), "folder of heat maps")
    target: int = setting(1, "class, from 0", low=0)
    side: int = setting(224, "input pixels", low=1)
    normalization: str = setting("imagenet", "of pixels", choices=("imagenet", "half"))
    device: str = setting("cpu", "cpu, cuda")
