import io
import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core import decoys
from lora_forensics.core.backends.loading import open_pair
from lora_forensics.core.casework import decoy_files as decoyfiles
from lora_forensics.core.casework.decoy_ranking import rank_files
from lora_forensics.core.casework.questions import _decoys
from lora_forensics.core.casework.request import RankRequest, Request
from lora_forensics.core.cli import main
from lora_forensics.core.decoys import (
    RankedPhoto,
    draw_secret,
    make_variant,
    rank_variants,
    read_secret,
)
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.errors import ForensicsError, InputError, NotEnoughDataError, RunError
from lora_forensics.core.images.photos import image_files
from lora_forensics.core.specs import DecoySpec, MembershipSpec
from lora_forensics.core.statistics.uniformity import uniformity
from lora_forensics.core.storage import Work, open_case, write_atomic
from lora_forensics.core.types import ModelHashes
from PIL import Image

SPEC = MembershipSpec(timesteps=(200, 600), noises=2)


def photos(n=16, side=16, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(20, 235, (side, side + 4, 3), dtype=np.uint8) for _ in range(n)]


def secret_of(kind, k=99, n=16):
    names = [f"{i}.png" for i in range(n)]
    return draw_secret(names, ["0" * 64] * n, DecoySpec(kind=kind, decoys=k))


def folder_of(path, pictures):
    path.mkdir()
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(path / f"{i:02d}.png")
    return path


def test_marks_are_faint_seeded_and_differ():
    secret, given = secret_of("mark"), photos(3 + 13)
    made = [make_variant(secret, given, i) for i in (0, 0, 1)]
    changes = [np.stack([p.astype(int) - given[i] for i, p in variant.photos]) for variant in made]
    assert np.array_equal(changes[0], changes[1])
    assert not np.array_equal(changes[0], changes[2])
    assert np.abs(changes[0]).max() == 3
    assert (changes[0] == changes[0][0]).all()  # one mark for the whole set
    bright = make_variant(secret, [np.full((8, 8, 3), 254, np.uint8)] * 16, 0)
    assert bright.photos[0][1].max() == 255


def test_subsets_are_halves_and_tokens_can_be_said():
    secret, given = secret_of("subset"), photos()
    parts = [[i for i, _ in make_variant(secret, given, v).photos] for v in range(100)]
    assert all(len(part) == 8 for part in parts)
    share = np.bincount(np.concatenate(parts), minlength=16) / 100
    assert np.abs(share - 0.5).max() < 0.2
    tokens = [make_variant(secret_of("token"), given, v).caption for v in range(5)]
    assert len(set(tokens)) == 5
    assert all(t.startswith("a photo of ") and t.split()[-1].isalpha() for t in tokens)


@pytest.mark.parametrize("kind", ["mark", "subset", "token"])
def test_rank_is_exact_for_a_model_that_saw_nothing(kind, monkeypatch):
    """Any score at all, as long as it does not know the index: p is uniform on its grid."""
    given = photos(8, side=4)
    rng = np.random.default_rng(1)
    taste = rng.normal(size=(8, 4, 8, 3))
    drawn = SimpleNamespace(
        randbelow=lambda n: int(rng.integers(n)), token_hex=lambda n: rng.bytes(n).hex()
    )
    monkeypatch.setattr(decoys, "secrets", drawn)  # the system's randomness would fail 1 run in 100

    def score(variant):
        text = sum(map(ord, variant.caption)) % 97
        return text + sum(float((taste[i] * p).mean()) for i, p in variant.photos)

    p = [rank_variants(secret_of(kind, 9, 8), given, score).p for _ in range(300)]
    verdict = uniformity(p, 10).verdict
    assert verdict == "uniform" if kind != "token" else verdict != "anti-conservative"


def test_a_score_that_knows_the_mark_reaches_the_floor_and_rank_says_so():
    secret, given = secret_of("mark"), photos()
    known = make_variant(secret, given, secret.index)

    def score(variant):
        pairs = zip(variant.photos, known.photos, strict=True)
        return -float(sum(np.abs(a[1].astype(int) - b[1]).sum() for a, b in pairs))

    rank = rank_variants(secret, given, score)
    assert rank.p == rank.floor == 0.01
    assert (rank.k, rank.kind, rank.commitment) == (99, "mark", secret.commitment)
    assert len(rank.decoys) == 99
    assert not rank.contrast_only
    assert rank_variants(secret_of("mark", 1), given, score).contrast_only


def test_ties_count_against_the_claim():
    assert rank_variants(secret_of("subset", 19), photos(), lambda _: 1.0).p == 1.0


def test_index_comes_from_the_system_and_is_uniform():
    draws = [secret_of("mark", 9).index for _ in range(600)]
    assert np.bincount(draws, minlength=10).min() > 30
    assert len({s for _ in range(5) for s in secret_of("mark", 9).seeds}) == 50


def test_a_changed_secret_is_refused():
    secret = secret_of("mark", 9)
    again = read_secret(decoys.secret_json(secret))
    assert again == secret
    other = replace(secret, index=(secret.index + 1) % 10)
    for bad, code in (
        (decoys.secret_json(other), "SECRET_CHANGED"),
        (decoys.secret_json(replace(secret, names=secret.names[:-1])), "SECRET_CHANGED"),
        (b"{}", "BAD_SECRET"),
        (b"[]", "BAD_SECRET"),
        (b"\xff", "BAD_SECRET"),
    ):
        with pytest.raises(InputError, match=code) as error:
            read_secret(bad)
        assert "__init__" not in str(error.value)


def test_impossible_requests_are_named():
    with pytest.raises(NotEnoughDataError, match="FEW_PHOTOS"):
        secret_of("subset", 99, 6)
    with pytest.raises(InputError, match="PAIR_MISMATCH"):
        make_variant(secret_of("mark"), photos(3), 0)
    with pytest.raises(InputError, match="NON_FINITE"):
        rank_variants(secret_of("mark", 3), photos(), lambda _: float("nan"))


@pytest.mark.parametrize("kind", ["mark", "subset", "token"])
def test_only_the_chosen_variant_is_published(tmp_path, kind):
    given = photos(12)
    source = folder_of(tmp_path / "in", given)
    secret = decoyfiles.make_files(source, tmp_path / "out", DecoySpec(kind=kind, decoys=19))
    file = tmp_path / "out" / "secret.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_secret(file.read_bytes()) == secret
    want = make_variant(secret, given, secret.index)
    published = sorted((tmp_path / "out" / "publish").glob("*.png"))
    assert len(published) == len(want.photos)
    for path, (_, pixels) in zip(published, want.photos, strict=True):
        assert np.array_equal(np.asarray(Image.open(path, formats=("PNG",))), pixels)
    texts = {p.read_text() for p in (tmp_path / "out" / "publish").glob("*.txt")}
    assert texts == ({want.caption} if kind == "token" else set())
    with pytest.raises(RunError, match="NOT_EMPTY"):
        decoyfiles.make_files(source, tmp_path / "out", DecoySpec(decoys=19))


def test_base_ratio_scores_each_photo_once_and_resumes(tmp_path):
    pair, given = GaussianPair(side=8), photos(8)
    secret = secret_of("subset", 19, 8)
    plain = rank_variants(secret, given, decoyfiles.base_ratio_score(pair, "", SPEC))
    rows = pair.rows
    case = open_case(tmp_path / "case", {})
    pair.rows = 0
    kept = rank_variants(secret, given, decoyfiles.base_ratio_score(pair, "", SPEC, Work(case)))
    assert kept == plain
    assert pair.rows == 8 * 2 * 2 * 2 < rows / 5
    case.close()
    again = open_case(tmp_path / "case", {})
    pair.rows = 0
    score = decoyfiles.base_ratio_score(pair, "", SPEC, Work(again))
    assert rank_variants(secret, given, score) == plain
    assert pair.rows == 0


def test_a_model_of_the_published_half_is_found():
    """Base and tuned are Gaussians; half of the photos are what the tuned one makes."""
    given = [np.full((8, 8, 3), 128, np.uint8) for _ in range(16)]
    secret = secret_of("subset")
    for i, _ in make_variant(secret, given, secret.index).photos:
        given[i] = np.full((8, 8, 3), 191, np.uint8)  # latent 0.5
    pair = GaussianPair(mean=0.5, spread=0.2, side=8)
    assert rank_variants(secret, given, decoyfiles.base_ratio_score(pair, "", SPEC)).p == 0.01


def test_command_line_from_photos_to_rank(tmp_path, capsys):
    source = asset_path("photos/guilty_strong")
    out, case = tmp_path / "made", tmp_path / "case"
    arguments = ["decoys", "make", "--photos", str(source), "--out", str(out)]
    assert main([*arguments, "--kind", "subset", "--decoys", "19"]) == 0
    commitment = json.loads((out / "secret.json").read_text())["commitment"]
    said = capsys.readouterr().out
    assert commitment in said
    assert "19 decoys: the smallest p" in said
    rank = [
        "decoys", "rank", "--secret", str(out / "secret.json"), "--photos", str(source),
        "--base", str(asset_path("base")), "--out", str(case),
        "--lora", str(asset_path("suspects/guilty_strong.safetensors")),
        "--timesteps", "300", "--noises", "1",
    ]  # fmt: skip
    assert main(rank) == 0
    first = (case / "rank.json").read_bytes()
    told = json.loads(first)
    assert told["rank"]["commitment"] == commitment
    told = told["rank"]
    assert told["k"] == len(told["decoys"]) == 19
    assert told["p"] >= told["floor"] == 0.05
    assert f"p = {told['p']:.3g}" in capsys.readouterr().out
    assert main(rank) == 0
    assert (case / "rank.json").read_bytes() == first
    other = [str(asset_path("photos/innocent")) if a == str(source) else a for a in rank]
    assert main(other) == 2
    assert "PHOTOS_CHANGED" in capsys.readouterr().err
    assert main([*rank, "--dtype", "bfloat16"]) == 2  # scores of two precisions never mix
    assert "begun with other dtype" in capsys.readouterr().err
    assert main([*rank[:-4], "--minor-suspected"]) == 3


def test_pixels_survive_the_way_through_tensors():
    pixels = photos(1)[0]
    data = io.BytesIO(decoyfiles.png_bytes(decoyfiles._pixels(pixels)))
    assert np.array_equal(np.asarray(Image.open(data, formats=("PNG",))), pixels)
    assert decoyfiles._pixels(pixels).dtype == torch.float32


def test_a_rank_is_held_to_its_scores_and_to_its_suspect():
    models = ModelHashes("base", "tuned")
    rank = rank_variants(secret_of("mark", 9), photos(), lambda v: float(v.photos[0][1].sum()))
    about, given = [RankedPhoto(("a", "b"), ("c",))], [("b",)]
    data = decoys.rank_json(rank, models, about)
    assert decoys.read_rank(data, models, given) == rank
    with pytest.raises(InputError, match="OTHER_SUSPECT"):
        decoys.read_rank(data, ModelHashes("base", "other"), given)
    with pytest.raises(InputError, match="OTHER_PHOTOS"):
        decoys.read_rank(data, models, [("d",)])
    better = decoys.rank_json(replace(rank, p=rank.floor / 2), models, about)
    for bad in (better, b"{}", b"[]", b"\xff", data.replace(b'"schema_version": 2', b'"x": 2')):
        with pytest.raises(InputError, match="BAD_RANK"):
            decoys.read_rank(bad, models, given)


MODELS = ModelHashes("base", "tuned")


@pytest.mark.parametrize("about", [b"{}", b"7", b'[{"original": ["a"]}]', b"[[]]"])
def test_a_rank_that_does_not_say_its_photos_is_refused(about):
    rank = rank_variants(secret_of("mark", 9), photos(), lambda _: 0.0)
    data = decoys.rank_json(rank, MODELS, ()).replace(b'"photos": []', b'"photos": ' + about)
    with pytest.raises(InputError, match=r"BAD_RANK|OTHER_PHOTOS"):
        decoys.read_rank(data, MODELS, [("a",)])


def test_a_rank_of_before_is_to_be_made_again():
    rank = rank_variants(secret_of("mark", 9), photos(), lambda _: 0.0)
    old = json.loads(decoys.rank_json(rank, MODELS, ())) | {"schema_version": 1}
    del old["photos"]
    with pytest.raises(InputError, match=r"BAD_RANK: the rank: it has schema 1.*run `decoys rank`"):
        decoys.read_rank(json.dumps(old).encode(), MODELS, [("a",)])


def published_set(tmp_path, kind):
    """Photos, what was published of them, and the file of their rank."""
    given = photos(12)
    source = folder_of(tmp_path / "in", given)
    secret = decoyfiles.make_files(source, tmp_path / "out", DecoySpec(kind=kind, decoys=19))
    rank = rank_variants(secret, given, lambda _: 0.0)
    file = tmp_path / "rank.json"
    file.write_bytes(decoys.rank_json(rank, MODELS, decoyfiles.ranked_photos(secret, given)))
    chosen = [i for i, _ in make_variant(secret, given, secret.index).photos]
    return source, tmp_path / "out" / "publish", file, chosen


def case_rank(photos, rank):
    """The rank that a case about a folder of photos would be judged by."""
    named = {name: Path(name) for name in ("base", "tuned", "controls", "out")}
    return _decoys(Request(**named, photos=photos, decoys=rank), SimpleNamespace(hashes=MODELS))


def copy_of(place, *files):
    place.mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, place / f"{number:03}{file.suffix}")
    return place


def resaved(place, source):
    place.mkdir()
    for file in image_files(source):
        Image.open(file, formats=("PNG",)).save(place / f"{file.stem}.webp", lossless=True)
    return place


@pytest.mark.parametrize("kind", ["mark", "subset", "token"])
def test_a_rank_is_for_its_originals_and_for_what_was_published(tmp_path, kind):
    source, publish, rank, chosen = published_set(tmp_path, kind)
    originals, pictures = image_files(source), image_files(publish)
    half = copy_of(tmp_path / "half", *(originals[i] for i in chosen))
    mixed = copy_of(tmp_path / "mixed", *pictures[:3], *(originals[i] for i in chosen[3:]))
    again = resaved(tmp_path / "originals again", source), resaved(tmp_path / "again", publish)
    for place in (publish, half, mixed, again[1]):
        assert case_rank(place, rank).k == 19
    for place in (source, again[0]):
        if kind == "subset":  # the other half was never published
            with pytest.raises(InputError, match="OTHER_PHOTOS"):
                case_rank(place, rank)
        else:
            assert case_rank(place, rank).k == 19


@pytest.mark.parametrize("kind", ["mark", "subset", "token"])
def test_a_rank_is_not_for_other_photos(tmp_path, kind):
    source, publish, rank, chosen = published_set(tmp_path, kind)
    originals, pictures = image_files(source), image_files(publish)
    strangers = image_files(folder_of(tmp_path / "strangers", photos(12, seed=1)))
    n = len(chosen)
    cases = {  # pictures of the case; how many of them the rank is about; published ones it has
        "others": (strangers, 0, 0),
        "one of the set": ([*strangers, originals[chosen[0]]], 1, 1),
        "one more": ([*pictures, strangers[0]], n, n),
        "one less": (pictures[1:], n - 1, n - 1),
    }
    if kind == "subset":
        cases["kept back"] = [f for i, f in enumerate(originals) if i not in chosen], 0, 0
    for name, (files, ours, found) in cases.items():
        says = (
            f"{ours} of the case's {len(files)} photos, and the case has {found} of {n} published"
        )
        with pytest.raises(InputError, match=f"OTHER_PHOTOS: the rank is about {says}"):
            case_rank(copy_of(tmp_path / name, *files), rank)


def test_a_rank_of_which_nothing_was_published_is_for_nothing():
    with pytest.raises(InputError, match="OTHER_PHOTOS"):
        decoys.check_photos([RankedPhoto(("a",))], [("a",)])
    with pytest.raises(InputError, match="OTHER_PHOTOS"):
        decoys.check_photos((), ())


def test_a_case_about_other_photos_is_refused_before_any_work(tmp_path, capsys):
    secret = decoyfiles.make_files(
        asset_path("photos/guilty_strong"), tmp_path / "made", DecoySpec(kind="token", decoys=99)
    )
    given = decoyfiles.read_originals(secret, asset_path("photos/guilty_strong"))
    base, lora = asset_path("base"), asset_path("suspects/guilty_strong.safetensors")
    pair = open_pair(base, lora, device="cpu")
    rank = rank_variants(secret, given, _first(make_variant(secret, given, secret.index).caption))
    about = decoyfiles.ranked_photos(secret, given)
    (tmp_path / "rank.json").write_bytes(decoys.rank_json(rank, pair.hashes, about))
    pair.close()
    case = tmp_path / "case"
    screen = [
        "screen", "--photos", str(asset_path("photos/innocent")), "--base", str(base),
        "--controls", str(asset_path("photos/controls_north")), "--lora", str(lora),
        "--out", str(case), "--decoys", str(tmp_path / "rank.json"),
    ]  # fmt: skip
    assert rank.p == 0.01
    assert main(screen) == 2
    assert "OTHER_PHOTOS: the rank is about 0 of" in capsys.readouterr().err
    assert not case.exists()


def _first(caption):
    return lambda variant: float(variant.caption == caption)


def rank_request(root, photos):
    named = {"secret": root / "secret.json", "out": root / "out", "photos": photos}
    return RankRequest(**named, base=Path("base"), tuned=Path("tuned"))


@pytest.mark.parametrize("place", ["kids/a.png", "photos/my child/a.png", "photos/a_toddler.png"])
def test_names_that_point_to_a_minor_stop_a_rank_before_any_picture(tmp_path, place):
    secret = tmp_path / "secret.json"
    secret.write_bytes(decoys.secret_json(secret_of("mark", 9)))
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_bytes(b"never opened")
    with pytest.raises(ForensicsError, match="MINOR_SUSPECTED"):
        rank_files(rank_request(tmp_path, tmp_path / place.split("/")[0]))
    assert not (tmp_path / "out").exists()


def test_names_in_the_secret_count_as_well(tmp_path):
    secret = tmp_path / "secret.json"
    named = draw_secret(["kid.png"], ["0" * 64], DecoySpec(decoys=9))
    secret.write_bytes(decoys.secret_json(named))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"never opened")
    with pytest.raises(ForensicsError, match="MINOR_SUSPECTED"):
        rank_files(rank_request(tmp_path, tmp_path / "photos"))


def test_one_decoy_is_no_plural(tmp_path, capsys):
    source = folder_of(tmp_path / "in", photos(2))
    command = ["decoys", "make", "--photos", str(source), "--out", str(tmp_path / "out")]
    assert main([*command, "--decoys", "1"]) == 0
    assert "\n1 decoy: the smallest p that a later rank" in capsys.readouterr().out


@pytest.mark.parametrize("ready", [False, True])
def test_a_stopped_make_leaves_nothing_behind(tmp_path, monkeypatch, ready):
    source, out = folder_of(tmp_path / "in", photos(12)), tmp_path / "out"
    if ready:
        out.mkdir()
    command = ["decoys", "make", "--photos", str(source), "--out", str(out), "--decoys", "9"]
    written = []

    def stop(path, data):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        write_atomic(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(decoyfiles, "write_atomic", stop)
        assert main(command) == 130
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "out"}
    assert not out.exists() or not any(out.iterdir())
    assert main(command) == 0
    assert {p.name for p in out.iterdir()} == {"publish", "secret.json"}
    assert stat.S_IMODE((out / "secret.json").stat().st_mode) == 0o600
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.parametrize("place", ["child_photos", "in"])
def test_making_stops_for_minors_before_any_picture(tmp_path, monkeypatch, place):
    source = folder_of(tmp_path / place, photos(2))
    command = ["decoys", "make", "--photos", str(source), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(decoyfiles, "decode_file", lambda _: pytest.fail("a picture was opened"))
    assert main([*command, *(["--minor-suspected"] if place == "in" else [])]) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flag", ["--nulls", "--counterfactuals", "--signals", "--null-noises", "--permutations"]
)
def test_a_rank_offers_no_flag_that_does_nothing(flag, capsys):
    with pytest.raises(SystemExit):
        main(["decoys", "rank", "--help"])
    said = capsys.readouterr().out
    assert f"{flag} " not in said
    assert all(f"{name} " in said for name in ("--timesteps", "--noises", "--batch", "--seed"))
