"""What runs again, what does not, and what an interrupt leaves behind."""

from __future__ import annotations

import itertools
import time

import pytest

from .native_checkpoints import sd15_unet, taesd
from .outcomes import shown_by, succeed
from .prompts import node
from .tiny_prompts import changed, node_of, template, with_node

FILES = (6, 12)  # photos and controls
WORK = ("output", "lora_forensics", "work")
OTHER_VAE = "tiny_sd15_other_vae.safetensors"


def kept(server):
    """Every finished unit so far: path -> (size, time written)."""
    files = server.base.joinpath(*WORK).rglob("*")
    stats = {p: p.stat() for p in files if p.is_file() and p.name != "lock"}
    return {p: (s.st_size, s.st_mtime_ns) for p, s in stats.items()}


def ledger_lines(server):
    return sum(
        len(p.read_text().splitlines()) for p in server.base.joinpath(*WORK).rglob("ledger.jsonl")
    )


def steps_made(history, node_id):
    """Steps that a node counted beyond those it found done; reading files is no step."""
    own = [(v, total) for n, v, total in history.progress if n == node_id and total not in FILES]
    pairs = itertools.pairwise(own)
    return sum(max(0, b[0] - a[0]) for a, b in pairs if a[1] == b[1])


def behind(prompt, *roots):
    """Ids of nodes and all that hangs on them."""
    found = set(roots)
    while True:
        more = {
            key
            for key, n in prompt.items()
            if any(isinstance(v, list) and v[0] in found for v in n["inputs"].values())
        }
        if more <= found:
            return found
        found |= more


@pytest.mark.parametrize(
    ("name", "judge"),
    [
        ("white_box_membership", "LoraForensicsVerdict"),
        ("finextract_extraction", "LoraForensicsJudgeExtraction"),
        ("moderation_pass", "LoraForensicsVerdict"),
    ],
)
def test_a_threshold_reruns_the_judgement_only(server, name, judge):
    prompt = template(name)
    succeed(server, prompt)
    before = kept(server)
    other = with_node(prompt, node_of(prompt, judge), alpha=0.04)
    history = succeed(server, other)
    assert set(history.executed) == behind(prompt, node_of(prompt, judge))
    assert history.cached == set(prompt) - set(history.executed)
    assert kept(server) == before


@pytest.mark.parametrize("name", ["white_box_membership", "multi_cfg_comparison"])
def test_a_repeated_prompt_runs_nothing(server, name):
    prompt = template(name)
    succeed(server, prompt)
    history = succeed(server, prompt)
    assert history.executed == ()
    assert history.cached == set(prompt)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        (
            "multi_cfg_comparison",
            "LoraForensicsMultiCfgSampler",
            ({"scales": "2"}, {"scales": "4"}),
        ),
        ("finextract_extraction", "LoraForensicsExtract", ({"scale": 1.25}, {"scale": 2.5})),
        (
            "white_box_membership",
            "LoraForensicsWhiteBox",
            ({"noises": 2, "nulls": 0}, {"noises": 4, "nulls": 0}),
        ),
    ],
)
def test_there_and_back_samples_nothing_anew(server, name, kind, settings):
    first, second = (changed(template(name), **values) for values in settings)
    samplers = [key for key, n in first.items() if n["class_type"] == kind]
    runs = [succeed(server, first), succeed(server, second)]
    before, lines = kept(server), ledger_lines(server)
    back = succeed(server, first)
    # ComfyUI itself has forgotten the first result; the work folder has not.
    assert set(samplers) <= set(back.executed)
    assert sum(steps_made(back, key) for key in samplers) == 0
    assert sum(steps_made(runs[1], key) for key in samplers) > 0
    assert {p: s for p, s in kept(server).items() if "reports" not in p.parts} == before
    assert ledger_lines(server) == lines


def test_another_text_encoder_or_vae_draws_anew(server, native_folder):
    """The base's weights are the same in all three: only what stands beside them differs."""
    from safetensors.torch import save_file

    save_file(sd15_unet() | taesd(seed=9), native_folder / "checkpoints" / OTHER_VAE)
    prompt = changed(template("multi_cfg_comparison"), scales="3", images=2)
    skipped = with_node(prompt, "2", clip=["90", 0])
    skipped["90"] = node("CLIPSetLastLayer", clip=["1", 1], stop_at_clip_layer=-2)
    other = prompt | {"91": node("CheckpointLoaderSimple", ckpt_name=OTHER_VAE)}
    for sampler in ("3", "4"):
        other = with_node(other, sampler, vae=["91", 2])
    tables = [
        shown_by(succeed(server, p), p, "Provenance") for p in (prompt, skipped, other, prompt)
    ]
    assert len(set(tables)) == 3
    assert tables[0] == tables[3]


def long_extraction(seed):
    """Eighty images in twenty batches: long enough to be interrupted."""
    values = {"images": 80, "batch": 4, "steps": 4, "scale": 1.5, "seed": seed}
    return changed(template("finextract_extraction"), **values)


def interrupted(server, prompt, enough):
    """Runs until `enough()`, interrupts, and returns the steps counted after that."""
    prompt_id = server.post(prompt)
    deadline = time.monotonic() + 240
    while not enough(prompt_id) and time.monotonic() < deadline:
        time.sleep(0.02)
    counted = len(server.events.of(prompt_id, "progress"))
    server.interrupt(prompt_id)
    history = server.wait(prompt_id)
    assert history.status == "interrupted"
    return len(server.events.of(prompt_id, "progress")) - counted


def test_an_interrupted_extraction_resumes(server):
    prompt = long_extraction(seed=77)
    extract = node_of(prompt, "LoraForensicsExtract")
    old, lines = kept(server), ledger_lines(server)
    after = interrupted(server, prompt, lambda _: ledger_lines(server) >= lines + 8)
    assert after <= 2, f"{after} steps after the interrupt"
    assert server.queue() == ([], [])
    done = ledger_lines(server) - lines
    assert 8 <= done < 80
    files = {p: s for p, s in kept(server).items() if p not in old and p.suffix == ".png"}
    assert len(files) >= done
    history = succeed(server, prompt)
    own = [(value, total) for n, value, total in history.progress if n == extract]
    assert own[0] == (4 * done, 4 * 80)
    assert own[-1] == (4 * 80, 4 * 80)
    assert ledger_lines(server) - lines == 80
    now = kept(server)
    assert all(now[p] == s for p, s in files.items())


def test_an_interrupted_measurement_leaves_the_server_healthy(server):
    prompt = changed(template("white_box_membership"), nulls=400, seed=78)
    key = node_of(prompt, "LoraForensicsWhiteBox")

    def enough(prompt_id):
        told = [e.data for e in server.events.of(prompt_id, "progress")]
        return any(d["node"] == key and d["max"] == 400 for d in told)

    assert interrupted(server, prompt, enough) <= 2
    assert server.queue() == ([], [])
    image = succeed(server, template("model_guidance_sampling", noise_seed=78))
    assert image.files("12")


def test_no_lock_and_no_half_file_is_left(server):
    work = server.base.joinpath(*WORK)
    assert not [p for p in work.rglob("*") if p.name == "lock" or p.name.startswith(".tmp-")]
