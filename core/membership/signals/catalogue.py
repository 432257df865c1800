"""Every white-box signal with its source, direction and cost; in all of them higher is member."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...errors import InputError
from ...specs import SignalSpec
from ...types import BASE, TUNED
from . import conditional, grid, noisefree, reconstruction, variants
from .grid import Raw
from .queries import Ask

Score = Callable[[Raw, SignalSpec], Tensor]


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of work that several signals share.

    Attributes:
        run: measures a chunk of images; it is given what its `needs` measured.
        rows: denoiser rows per photo, of the settings and the number of models asked.
        needs: stages that must have run before.
    """

    run: Callable[[Ask, Mapping[str, Tensor]], dict[str, Tensor]]
    rows: Callable[[SignalSpec, int], int]
    needs: tuple[str, ...] = ()


def cells(spec: SignalSpec) -> int:
    """Timesteps times draws of the grid."""
    return len(spec.timesteps) * spec.noises


def _pair_cells(spec: SignalSpec) -> int:
    return len(spec.timesteps) * min(2, spec.noises)


STAGES: dict[str, Stage] = {
    "grid": Stage(grid.grid_stage, lambda s, m: m * cells(s)),
    "sima": Stage(noisefree.sima_stage, lambda s, m: m),
    "start": Stage(noisefree.start_stage, lambda s, m: m),
    "pia": Stage(noisefree.pia_stage, lambda s, m: m * len(s.pia_timesteps), ("start",)),
    "pian": Stage(noisefree.pian_stage, lambda s, m: m, ("start",)),
    "secmi": Stage(noisefree.secmi_stage, lambda s, m: m * (len(noisefree.secmi_targets(s)) + 2)),
    "single": Stage(grid.single_stage, lambda s, m: 1),
    "gap": Stage(conditional.gap_stage, lambda s, m: m * cells(s), ("grid",)),
    "clid": Stage(conditional.clid_stage, lambda s, m: 5 * len(s.clid_timesteps)),
    "strengths": Stage(
        variants.strengths_stage,
        lambda s, m: (len(variants.curve_strengths(s)) - 1) * _pair_cells(s),
        ("grid",),
    ),
    "range": Stage(variants.range_stage, lambda s, m: 3 * 2 * _pair_cells(s), ("grid",)),
    "pfami": Stage(
        variants.pfami_stage, lambda s, m: m * (1 + s.pfami_crops) * len(s.pfami_timesteps)
    ),
    "reconstruction": Stage(
        reconstruction.reconstruction_stage, lambda s, m: s.inversion - 1 + 2 * s.regeneration
    ),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """A per-photo score.

    Attributes:
        name: key in `SIGNALS`.
        title: for people.
        source: paper and section.
        direction: why higher means member.
        stage: the work that it reads.
        score: from measurements of all images to ``[N]``.
        uses_base: the base's answer is part of it.
        published: a published attack on the tuned model alone, here for comparison.
        flow: it is defined for flow models.
        captions: it needs captions that are not blank.
    """

    name: str
    title: str
    source: str
    direction: str
    stage: str
    score: Score
    uses_base: bool = True
    published: bool = False
    flow: bool = True
    captions: bool = False

    @property
    def models(self) -> tuple[float, ...]:
        """Adapter strengths that its stage must ask."""
        return (BASE, TUNED) if self.uses_base else (TUNED,)

    def forwards(self, spec: SignalSpec) -> int:
        """Denoiser rows per photo when it is measured alone."""
        return planned_rows([self.name], spec)


_LIST = (
    Signal(
        "base_ratio",
        "BaseRatio",
        "difficulty calibration (2111.08440) on paired diffusion losses, log of the ratio of sums",
        "the tuned model denoises its training photos better than the base does",
        "grid",
        grid.base_ratio,
    ),
    Signal(
        "base_difference",
        "Base difference",
        "difficulty calibration (2111.08440), mean difference of paired losses",
        "the tuned model's loss is lower than the base's",
        "grid",
        grid.base_difference,
    ),
    Signal(
        "base_min_t",
        "Least timestep",
        "smallest mean log ratio over timesteps, paired losses",
        "the loss falls at every noise level",
        "grid",
        grid.base_min_t,
    ),
    Signal(
        "sima_delta",
        "SimA, base-calibrated",
        "SimA (2509.25003) of the base minus that of the tuned model",
        "less noise is seen in the clean photo than the base sees",
        "sima",
        noisefree.sima_delta,
    ),
    Signal(
        "pia_delta",
        "PIA, base-calibrated",
        "PIA (2305.18355) of the base minus that of the tuned model",
        "the photo's path is more consistent than under the base",
        "pia",
        noisefree.pia_delta,
        flow=False,
    ),
    Signal(
        "window_votes",
        "Window votes",
        "WBC (2601.02751) moved to boxes of the latent",
        "more places of the photo are denoised better than worse",
        "grid",
        grid.window_votes,
    ),
    Signal(
        "error_ratio",
        "Error ratio",
        "EZ-MIA (2601.12104) moved to places of high error",
        "errors are taken away, not added, where the tuned model errs most",
        "grid",
        grid.error_ratio,
    ),
    Signal(
        "conditional_gap",
        "Conditional gap",
        "CLiD (2405.14800) eq. 13, shared draws",
        "the caption helps to denoise the photo",
        "gap",
        conditional.conditional_gap,
        uses_base=False,
        captions=True,
    ),
    Signal(
        "conditional_gap_calibrated",
        "Conditional gap, base-calibrated",
        "CLiD (2405.14800) eq. 13 of the tuned model minus that of the base",
        "the caption helps more than it helps the base",
        "gap",
        conditional.conditional_gap_calibrated,
        captions=True,
    ),
    Signal(
        "strength_curve",
        "Strength curve",
        "slope of BaseRatio over adapter strength",
        "more of the adapter denoises the photo better",
        "strengths",
        variants.strength_curve,
    ),
    Signal(
        "range_ratio",
        "Range query",
        "RaMIA's trimmed mean over copies, of BaseRatio",
        "BaseRatio is high for the photo and its re-encoded or cropped copies",
        "range",
        variants.range_ratio,
    ),
    Signal(
        "pfami_calibrated",
        "PFAMI, base-calibrated",
        "PFAMI (2308.12143) with the calibration switch of its released code",
        "the loss rises around the photo more than the base's does",
        "pfami",
        variants.pfami_calibrated,
    ),
    Signal(
        "reconstruction",
        "Reconstruction",
        "inversion with the base as in 2601.21628, base picture as control",
        "the tuned model draws the photo again more closely than the base",
        "reconstruction",
        reconstruction.reconstruction,
    ),
    Signal(
        "noise_probe",
        "Noise as a probe",
        "2601.21628, with an embedding's distance and guidance 1",
        "the tuned model draws the photo again from the base's inverted noise",
        "reconstruction",
        reconstruction.noise_probe,
    ),
    Signal(
        "loss",
        "Loss, Monte Carlo",
        "Matsumoto et al. and Hu & Pang, averaged over timesteps and draws",
        "training photos have a low loss",
        "grid",
        grid.loss,
        uses_base=False,
        published=True,
    ),
    Signal(
        "loss_single",
        "Loss, one draw",
        "Matsumoto et al.; timestep 500 as FreMIA's code (2505.20955) on Stable Diffusion",
        "training photos have a low loss",
        "single",
        grid.loss_single,
        uses_base=False,
        published=True,
    ),
    Signal(
        "secmi",
        "SecMI-stat",
        "SecMI (2302.01316); jinhaoduan/SecMI mia_evals/secmia.py",
        "one DDIM step there and back returns to the photo's path",
        "secmi",
        noisefree.secmi,
        uses_base=False,
        published=True,
        flow=False,
    ),
    Signal(
        "pia",
        "PIA",
        "PIA (2305.18355); kong13661/PIA DDPM/components.py",
        "the noise seen at timestep 0 is seen again at t",
        "pia",
        noisefree.pia,
        uses_base=False,
        published=True,
        flow=False,
    ),
    Signal(
        "pian",
        "PIAN",
        "PIAN (2305.18355); kong13661/PIA DDPM/components.py",
        "as PIA, with the first noise rescaled to that of a normal",
        "pian",
        noisefree.pian,
        uses_base=False,
        published=True,
        flow=False,
    ),
    Signal(
        "pfami",
        "PFAMI",
        "PFAMI (2308.12143); wjfu99/MIA-Gen attack/attack_model_PFAMI.py",
        "the loss rises when the photo is cropped a little",
        "pfami",
        variants.pfami,
        uses_base=False,
        published=True,
    ),
    Signal(
        "clid",
        "CLiD",
        "CLiD threshold form (2405.14800) eq. 16, thirds of the caption, appendix D.1",
        "the caption helps to denoise the photo, and the loss is low",
        "clid",
        conditional.clid,
        uses_base=False,
        published=True,
        captions=True,
    ),
)
SIGNALS: dict[str, Signal] = {signal.name: signal for signal in _LIST}
STANDARD: tuple[str, ...] = (
    "base_ratio",
    "base_difference",
    "base_min_t",
    "sima_delta",
    "pia_delta",
    "window_votes",
    "error_ratio",
    "conditional_gap",
    "conditional_gap_calibrated",
    "loss",
    "loss_single",
    "secmi",
    "pia",
    "pian",
    "clid",
)
DEEP: tuple[str, ...] = tuple(SIGNALS)


def planned_stages(names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Stages that signals need, in order, with the models each must ask.

    Args:
        names: keys of `SIGNALS`.

    Raises:
        InputError: BAD_SIGNAL for an unknown name, or none.
    """
    unknown = sorted(set(names) - set(SIGNALS))
    if unknown or not names:
        raise InputError(
            "BAD_SIGNAL",
            f"signal {', '.join(unknown) or '(none)'} is unknown; choose of {', '.join(SIGNALS)}",
        )
    wanted: dict[str, tuple[float, ...]] = {}
    for name in names:
        signal = SIGNALS[name]
        for stage in (*STAGES[signal.stage].needs, signal.stage):
            wanted[stage] = max(wanted.get(stage, ()), signal.models, key=len)
    return {stage: wanted[stage] for stage in STAGES if stage in wanted}


def planned_rows(names: Sequence[str], spec: SignalSpec) -> int:
    """Denoiser rows per photo for several signals together; shared work counts once."""
    stages = planned_stages(names).items()
    return sum(STAGES[stage].rows(spec, len(models)) for stage, models in stages)
