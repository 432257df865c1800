"""Does the demo show the real effects? Every figure of docs/demo.md comes from this command.

``python -m lora_forensics.core.studies.demo.study --out FOLDER`` screens all embedded suspects,
compares guidance arms at an equal budget over five suspects and three seeds, and runs the
black-box attack on two institutions. It writes study.json and study.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...attack.line import draw_arm, train_seeds
from ...backends.loading import load_base, pair_of
from ...backends.networks import Networks
from ...casework.screening import Question, screen
from ...demo.assets import SuspectTruth, asset_path, load_truth
from ...encoders import load_encoder
from ...encoders.embedding import embed
from ...extraction.line import extract, groups, sample_spec
from ...images.photos import Photos, image_files, load_photos
from ...images.sets import Sets
from ...membership.signals.paired import base_ratio, paired_losses
from ...protocols import ImageEncoder, ModelPair
from ...sampling.generation import generate
from ...sampling.guidance import cfg
from ...sampling.plans import plan
from ...specs import AttackSpec, ExtractSpec, MembershipSpec, ScreenSpec, VerdictSpec
from ...types import TUNED, Embeddings
from ...verdicts.comparison import compare
from .tables import render_study

log = logging.getLogger(__name__)

STUDY = tuple(f"study_{k}" for k in range(1, 6))
SCREENED = ("guilty_strong", "guilty_light", "innocent", "placebo")
UNTRAINED = ("innocent", "placebo")
NORTH_SETS = ("guilty_strong", "guilty_light", *STUDY)
PUBLISHED_CFG = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One guidance arm on one suspect and seed.

    Attributes:
        suspect: trained on ten known photos.
        seed: run seed, shared by all arms.
        arm: name of the rule.
        scale: weight used.
        images: images drawn.
        best_of_n: AS over all images.
        representatives: AS through N0 representatives.
        success: A-ESR through representatives at the descriptor's strict threshold.
        strangers: AS of the controls over all images.
    """

    suspect: str
    seed: int
    arm: str
    scale: float
    images: int
    best_of_n: float
    representatives: float
    success: float
    strangers: float


def load_pair(base: Networks, truth: SuspectTruth) -> Any:
    """An embedded suspect on the embedded base."""
    return pair_of(base, asset_path(truth.adapter))


def _suspects(base: Networks, names: Iterable[str]) -> Iterator[tuple[SuspectTruth, Any]]:
    """Each suspect's truth and its models, closed before the next."""
    truth = load_truth()
    for name in names:
        with closing(load_pair(base, truth[name])) as pair:
            yield truth[name], pair


def photos_of(folder: str, pair: ModelPair, *, control: bool = False) -> Photos:
    """Embedded photos at the model's resolution."""
    files = image_files(asset_path(folder))
    return load_photos(files, "control" if control else "photo", pair.resolution)


def screen_suspects(base: Networks, encoder: ImageEncoder, spec: ScreenSpec) -> list[dict]:
    """White-box evidence and verdict for each suspect with known truth."""
    rows = []
    for truth, pair in _suspects(base, SCREENED):
        sets = Sets(photos_of(truth.query, pair), photos_of(truth.controls, pair, control=True))
        question = Question(sets=sets, prompts=(truth.prompt,), exchangeable=True)
        findings = screen(pair, encoder, question, spec, lines=("membership",)).findings
        m = findings.membership
        assert m is not None
        rows.append(
            {
                "suspect": truth.name,
                "member": truth.member,
                "steps": truth.recipe.steps,
                "rank": truth.recipe.rank,
                "auc": asdict(m.comparison.auc),
                "p": m.comparison.permutation.p,
                "tpr": [asdict(t) for t in m.comparison.tpr],
                "tuned_only_auc": m.tuned_only_auc,
                "verdict": findings.verdict.letter,
            }
        )
        area, letter = m.comparison.auc.auc, findings.verdict.letter
        log.info("%s: AUC %.3f, verdict %s", truth.name, area, letter)
    return rows


def ask_unseen(base: Networks, spec: ScreenSpec) -> list[dict[str, Any]]:
    """Suspects that were trained on other photos, asked about every northern set in turn.

    One set of 16 photos is one draw; seven sets, and all their 82 photos as one, show whether
    the white-box test accuses at its stated rate.
    """
    rows = []
    for truth, pair in _suspects(base, UNTRAINED):
        controls = _scores(pair, photos_of(truth.controls, pair, control=True), truth.prompt, spec)
        sets = [
            _scores(pair, photos_of(f"photos/{folder}", pair), truth.prompt, spec)
            for folder in NORTH_SETS
        ]
        comparisons = [compare(scores, controls, spec.verdict) for scores in sets]
        pooled = compare(np.concatenate(sets), controls, spec.verdict)
        rows.append(
            {
                "suspect": truth.name,
                "photos": len(pooled.photo_scores),
                "aucs": [c.auc.auc for c in comparisons],
                "p": [c.permutation.p for c in comparisons],
                "pooled": asdict(pooled.auc),
                "pooled_p": pooled.permutation.p,
            }
        )
        n, area = len(pooled.photo_scores), pooled.auc.auc
        log.info("%s on all %d unseen photos: AUC %.3f", truth.name, n, area)
    return rows


def _scores(pair: ModelPair, photos: Photos, prompt: str, spec: ScreenSpec) -> np.ndarray:
    latents = pair.encode(photos.images.pixels)
    return base_ratio(paired_losses(pair, latents, prompt, spec.membership))


def compare_arms(
    base: Networks, encoder: ImageEncoder, spec: ExtractSpec, seeds: Sequence[int]
) -> Iterator[ArmResult]:
    """Plain, CFG and model guidance on the same noises, for each study suspect and seed."""
    for truth, pair in _suspects(base, STUDY):
        photos = embed(photos_of(truth.query, pair).images, encoder)
        strangers = embed(photos_of(truth.controls, pair, control=True).images, encoder)
        for seed in seeds:
            started = time.monotonic()
            for arm in _arms(pair, encoder, truth.prompt, replace(spec, seed=seed), len(photos)):
                yield _arm_result(truth.name, seed, *arm, photos=photos, strangers=strangers)
            log.info("%s seed %d: %.0f s", truth.name, seed, time.monotonic() - started)


def _arms(
    pair: ModelPair, encoder: ImageEncoder, prompt: str, spec: ExtractSpec, n0: int
) -> Iterator[tuple[str, float, Embeddings]]:
    """(name, scale, descriptors) of each arm; the pilots see no ground truth."""
    doubled = plan([prompt], [cfg(1.0)], 2 * spec.images, spec.seed)
    plain = embed(generate(pair, doubled, sample_spec(spec)), encoder)
    yield "conditional", 1.0, plain.select(range(spec.images))
    yield "conditional, twice the images", 1.0, plain
    published = plan([prompt], [cfg(PUBLISHED_CFG)], spec.images, spec.seed)
    drawn = generate(pair, published, sample_spec(spec))
    yield "CFG, published scale", PUBLISHED_CFG, embed(drawn, encoder)
    for arm, label in (("cfg", "CFG, pilot"), ("model", "model guidance, pilot")):
        done = extract(pair, encoder, [prompt], n0, replace(spec, guidance=arm, scale=0.0))
        scale = max(done.pilot, key=lambda point: point.score).scale
        yield label, scale, done.embeddings


def _arm_result(
    suspect: str,
    seed: int,
    arm: str,
    scale: float,
    drawn: Embeddings,
    *,
    photos: Embeddings,
    strangers: Embeddings,
) -> ArmResult:
    medoids = drawn.select(groups(drawn, len(photos)).medoids.tolist())
    through = photos.similarity(medoids).max(1).values
    return ArmResult(
        suspect=suspect,
        seed=seed,
        arm=arm,
        scale=scale,
        images=len(drawn),
        best_of_n=float(photos.similarity(drawn).max(1).values.mean()),
        representatives=float(through.mean()),
        success=float((through > drawn.encoder.copy_threshold).float().mean()),
        strangers=float(strangers.similarity(drawn).max(1).values.mean()),
    )


def black_box(base: Networks, spec: AttackSpec, verdict: VerdictSpec) -> dict[str, Any]:
    """The paper's protocol in small: north against a shadow model of the south.

    Rows: seen north against south (another institution), seen against unseen north (the same).
    """
    truth = load_truth()
    north, south = (load_pair(base, truth[f"institution_{k}"]) for k in ("north", "south"))
    seen = photos_of(truth["institution_north"].trained_on, north).images.pixels
    unseen = photos_of("photos/controls_north", north, control=True).images.pixels
    other = photos_of("photos/controls_south", north, control=True).images.pixels
    positives = draw_arm(north, [truth["institution_north"].prompt], TUNED, spec).pixels
    negatives = draw_arm(south, [truth["institution_south"].prompt], TUNED, spec).pixels
    queries = north.decode(north.encode(torch.cat([seen, unseen, other])))
    north.close()
    south.close()
    results = train_seeds(positives, negatives, queries, spec)
    logits = torch.stack([r.logits for r in results]).mean(0).numpy()
    a, b = len(seen), len(seen) + len(unseen)
    parts = {"seen": logits[:a], "unseen": logits[a:b], "other": logits[b:]}
    pairs = {
        "seen north against south": ("seen", "other"),
        "seen against unseen north": ("seen", "unseen"),
        "unseen north against south": ("unseen", "other"),
    }
    return {
        label: asdict(compare(parts[x], parts[y], verdict).auc) for label, (x, y) in pairs.items()
    }


def run_study(images: int, seeds: Sequence[int], nulls: int) -> dict[str, Any]:
    """All parts of the study, as JSON facts."""
    base, encoder = load_base(asset_path("base")), load_encoder("tiny")
    spec = ScreenSpec(membership=MembershipSpec(nulls=nulls))
    started = time.monotonic()
    screened = screen_suspects(base, encoder, spec)
    unseen = ask_unseen(base, spec)
    pilot = ExtractSpec(images=images, pilot_images=max(16, images // 5))
    arms = [asdict(result) for result in compare_arms(base, encoder, pilot, seeds)]
    attack = black_box(base, AttackSpec(images=2 * images), spec.verdict)
    return {
        "screened": screened,
        "unseen": unseen,
        "arms": arms,
        "black_box": attack,
        "images": images,
        "seeds": list(seeds),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "seconds": round(time.monotonic() - started),
    }


def main() -> None:
    """Run the study and write its two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=40, help="images per arm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--nulls", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    facts = run_study(args.images, args.seeds, args.nulls)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "study.json").write_text(json.dumps(facts, indent=1) + "\n")
    (args.out / "study.md").write_text(render_study(facts))


if __name__ == "__main__":
    main()
