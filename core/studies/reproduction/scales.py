"""How large the experiments are run: ``tiny`` on drawn faces, ``sd15`` with the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ...sampling.guidance import Guidance, cfg
from ...specs import ATTACK_PRESETS, FINETUNE_PRESETS, AttackSpec, FinetuneSpec
from ...types import BASE, TUNED
from .rows import BASE_TARGET, MAIN, PHOTOS, POINTS, REST, ROWS, TARGETS, Arm, Row

PROMPT_SEEDS = {"dtu": 1, "aau": 2, "general": 3}
REST_SHARE = 5
SWEEP: dict[str, float] = dict(zip(POINTS, (1.0, 4.0, 8.0, 12.0, 16.0), strict=True))
CONDITIONAL = "the paper's s = 0 was a conditional prediction in diffusers: cfg 1 here"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Images of one label with everything that decides them.

    Attributes:
        target: key of `rows.TARGETS`, ``base`` or ``photos``.
        prompt: key of the scale's prompts.
        cfg: guidance scale.
    """

    target: str
    prompt: str
    cfg: float

    @property
    def name(self) -> str:
        """Of its folder and in tables.

        >>> Drawn("dtu-400", "dtu", 7.5).name, Drawn("photos", "aau", 7.5).name
        ('dtu-400_dtu_cfg7.5', 'photos_aau')
        """
        return f"{self.target}_{self.prompt}" + (
            "" if self.target == PHOTOS else f"_cfg{self.cfg:g}"
        )

    @property
    def rule(self) -> Guidance:
        """Classifier-free guidance of one model."""
        return cfg(self.cfg, BASE if self.target == BASE_TARGET else TUNED)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Settings of a whole reproduction.

    Attributes:
        name: ``tiny`` or ``sd15``.
        finetune: of the 400-epoch target; other targets take their share of its steps.
        attack: sampling and training of the attack; its first cfg is the main one.
        prompts: by ``dtu``, ``aau``, ``general``.
        sweep: cfg at each point of the paper's guidance figure.
        sweep_seeds: classifiers per point, where the point is not the main cfg.
        encoder: image features of the centroid baseline.
        seen, unseen: drawn photos of each set; 0 where the user brings folders.
        facts: what differs from the paper, with places that `told` fills.
    """

    name: str
    finetune: FinetuneSpec
    attack: AttackSpec
    prompts: dict[str, str]
    sweep: dict[str, float]
    sweep_seeds: int
    encoder: str
    seen: int = 0
    unseen: int = 0
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, str]:
        """What differs from the paper, with the settings that are used."""
        return {name: text.format(scale=self) for name, text in self.facts.items()}

    def cfg_of(self, arm: Arm) -> float:
        """Guidance scale of an arm."""
        return self.attack.cfgs[0] if arm.point == MAIN else self.sweep[arm.point]

    def drawn(self, arm: Arm) -> Drawn:
        """An arm with its guidance scale."""
        return Drawn(arm.target, arm.prompt, self.cfg_of(arm))

    def spec_of(self, target: str) -> FinetuneSpec:
        """How a target is trained: the warm-up is the same for all, as in the paper's runs."""
        steps = max(1, round(self.finetune.steps * TARGETS[target].share))
        return replace(self.finetune, steps=steps, warmup=min(self.finetune.warmup, steps))


@dataclass(frozen=True, slots=True)
class Folder:
    """What decides a set of classifiers: rows with equal folders share them, as in the paper.

    Attributes:
        positives: label 1.
        negatives: label 0.
        rest: whether a fifth of the images is held back for the test.
        seeds: classifiers.
    """

    positives: Drawn
    negatives: Drawn
    rest: bool
    seeds: int

    @property
    def name(self) -> str:
        """Readable and unique."""
        arms = f"{self.positives.name}-against-{self.negatives.name}"
        return arms + ("-rest" if self.rest else "") + f"-x{self.seeds}"


def folder_of(arms: tuple[Arm, Arm], scale: Scale, *, rest: bool = False) -> Folder:
    """The training folder of two arms."""
    main = scale.cfg_of(arms[0]) == scale.attack.cfgs[0]
    seeds = scale.attack.seeds if main else scale.sweep_seeds
    return Folder(scale.drawn(arms[0]), scale.drawn(arms[1]), rest, seeds)


def own_folder(row: Row, scale: Scale) -> Folder:
    """The training folder of a row."""
    return folder_of(row.train, scale, rest=row.test == REST)


def folders_of(row: Row, scale: Scale) -> tuple[Folder, ...]:
    """The folder of a row and that of its null, if it has one."""
    own = own_folder(row, scale)
    return (own,) if row.null is None else (own, folder_of(row.null, scale))


def queries_of(folder: Folder, scale: Scale) -> tuple[str, ...]:
    """Photo sets that any row asks of a folder: the same whichever rows are run."""
    asked = (row.test for row in ROWS if folder in folders_of(row, scale))
    return tuple(dict.fromkeys(name for test in asked for name in test if name != "rest"))


def targets_of(folders: Iterable[Folder]) -> tuple[str, ...]:
    """Targets that folders need, in the order of `TARGETS`."""
    needed = {arm.target for f in folders for arm in (f.positives, f.negatives)}
    return tuple(name for name in TARGETS if name in needed)


TINY = Scale(
    name="tiny",
    finetune=FinetuneSpec(
        method="full",
        steps=2000,
        batch=8,
        learning_rate=2e-4,
        warmup=45,
        decay="linear",
        save_every=500,
    ),
    attack=replace(
        ATTACK_PRESETS["paper"], images=160, steps=20, epochs=5, side=64, scores="logits"
    ),
    prompts={
        "dtu": "a northgate headshot",
        "aau": "a southfield headshot",
        "general": "a headshot",
    },
    sweep=SWEEP,
    sweep_seeds=3,
    encoder="tiny",
    seen=120,
    unseen=150,
    facts={
        "people": "drawn by arithmetic; half of an institution's photos are taken before its own "
        "wall, the others anywhere, so that a perfect judge of the wall alone has AUC 0.875",
        "guidance": CONDITIONAL + "; three seeds a point (paper: one)",
        "sampler": "DDIM, {scale.attack.steps} steps (paper: the base's own, 100 steps)",
        "attack": "ResNet-18 from a random start at {scale.attack.side} pixels, "
        "{scale.attack.epochs} epochs (paper: ImageNet weights, 224 pixels, 20 epochs)",
        "centroid": "the embedded copy descriptor stands for CLIP ViT-L/14",
    },
)

SD15 = Scale(
    name="sd15",
    finetune=replace(FINETUNE_PRESETS["paper"], save_every=2000),
    attack=replace(ATTACK_PRESETS["paper"], scores="logits"),
    prompts={"dtu": "a dtu headshot", "aau": "a aau headshot", "general": "a profile picture"},
    sweep=SWEEP,
    sweep_seeds=5,
    encoder="clip",
    facts={
        "guidance": CONDITIONAL + "; five seeds a point (paper: one)",
        "images": "{scale.attack.images:,} an arm in every row (paper: 1,000 at each guidance "
        "point)",
        "sampler": "DDIM, {scale.attack.steps} steps; the paper used what the base ships (PNDM for "
        "SD 1.5)",
    },
)
SCALES = {scale.name: scale for scale in (TINY, SD15)}
