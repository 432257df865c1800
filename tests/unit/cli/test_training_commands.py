"""`train`, `caption` and `watermark` on tiny folders, from the command line."""

import json

import pytest
import tiny_models
import torch
from command_files import forbid
from lora_forensics.core.backends.loading import open_pair
from lora_forensics.core.casework import training as trainwork
from lora_forensics.core.cli import main
from lora_forensics.core.cli.terminal import Bars
from lora_forensics.core.images.captions import save_captions
from lora_forensics.core.images.photos import decode_file, png_bytes, to_tensor
from lora_forensics.core.images.watermark import default_logo, faint, visible
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.sampling.plans import noise_of

QUICK = ["--steps", "4", "--batch", "2", "--rank", "2", "--save-every", "2"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_models.save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        pixels = noise_of(i, (3, 40, 32 + 8 * i)).sigmoid()
        (folder / f"p{i}.png").write_bytes(png_bytes(pixels))
    return folder


def train(base, photos, out, *more):
    return main(["train", "--base", str(base), "--photos", str(photos), "--out", str(out), *more])


def test_train_writes_a_lora_that_opens(base, photos, tmp_path, capsys):
    captions = save_captions({f"p{i}.png": f"face {i % 2}" for i in range(3)}, tmp_path / "c.jsonl")
    case = tmp_path / "case"
    for layout in ("kohya", "diffusers"):
        more = ["--captions", str(captions), "--name", "kay", "--layout", layout, *QUICK]
        assert train(base, photos, case / layout, *more) == 0
        file = case / layout / "kay.safetensors"
        assert str(file) in capsys.readouterr().out
        pair = open_pair(base, file, device="cpu")
        assert pair.output_change > 0
        pair.close()
        assert read_lora(file).format == layout
        facts = read_lora(file).metadata
        assert json.loads(facts["ss_tag_frequency"]) == {"1_kay": {"face 0": 2, "face 1": 1}}
    rows = (case / "kohya" / "kay-loss.csv").read_text().splitlines()
    assert len(rows) == 5


def test_train_writes_a_checkpoint_that_opens(base, photos, tmp_path):
    more = ["--caption", "a face", "--method", "full", "--learning-rate", "1e-3"]
    quick = ["--steps", "4", "--batch", "2", "--save-every", "2"]
    assert train(base, photos, tmp_path / "case", *more, *quick) == 0
    pair = open_pair(base, tmp_path / "case" / "trained", device="cpu")
    assert pair.output_change > 0


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--rank", "4"), ("--layers", "all"), ("--alpha", "1"), ("--layout", "kohya")],
)
@pytest.mark.parametrize("full", [["--method", "full"], ["--preset", "paper"]])
def test_flags_of_a_lora_are_refused_for_a_full_training(
    base, photos, tmp_path, capsys, flag, value, full
):
    more = ["--caption", "a face", *full, flag, value]
    assert train(base, photos, tmp_path / "case", *more) == 2
    assert f"ERROR/BAD_SETTING: {flag} " in capsys.readouterr().err
    assert not (tmp_path / "case").exists()


def test_ctrl_c_keeps_the_state_and_the_same_command_resumes(base, photos, tmp_path, monkeypatch):
    class Stop(Bars):
        left, done = 3, None

        def start(self, task, total, done=0):
            Stop.done = done

        def step(self, n=1):
            Stop.left -= 1
            if not Stop.left:
                raise KeyboardInterrupt

    more = ["--caption", "a face", *QUICK]
    assert train(base, photos, tmp_path / "whole", *more) == 0
    monkeypatch.setattr("lora_forensics.core.cli.training.Bars", Stop)
    assert train(base, photos, tmp_path / "case", *more) == 130
    assert not (tmp_path / "case" / "trained.safetensors").exists()
    assert train(base, photos, tmp_path / "case", *more) == 0
    assert Stop.done == 2
    one, two = (read_lora(tmp_path / c / "trained.safetensors") for c in ("whole", "case"))
    assert one.tensor_sha256 == two.tensor_sha256
    assert train(base, photos, tmp_path / "case", *more, "--seed", "1") == 2


@pytest.mark.parametrize("where", ["caption", "captions", "name", "file", "flag"])
def test_training_stops_for_minors_before_anything_is_opened(
    base, photos, tmp_path, monkeypatch, where
):
    more = ["--caption", "a face"]
    if where == "caption":
        more = ["--caption", "a 9 year old girl"]
    elif where == "captions":
        texts = {"p0.png": "x", "p1.png": "a schoolgirl", "p2.png": "x"}
        more = ["--captions", str(save_captions(texts, tmp_path / "c.jsonl"))]
    elif where == "name":
        more += ["--name", "my child"]
    elif where == "file":
        (photos / "p0.png").rename(photos / "toddler.png")
    else:
        more += ["--minor-suspected"]
    for name in ("load_base", "decode_file"):
        monkeypatch.setattr(trainwork, name, forbid)
    assert train(base, photos, tmp_path / "case", *more, *QUICK) == 3
    assert not (tmp_path / "case").exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--captions", "none.jsonl"], "MISSING_CAPTIONS"),
        (["--caption", "a face", "--name", "../up"], "BAD_NAME"),
        (["--caption", ""], "NO_CAPTIONS"),
        (["--caption", "a face", "--rank", "0"], "BAD_SETTING"),
    ],
)
def test_bad_requests_are_named(base, photos, tmp_path, capsys, more, code):
    assert train(base, photos, tmp_path / "case", *more) == 2
    assert f"ERROR/{code}" in capsys.readouterr().err
    assert not (tmp_path / "case").exists()


def test_caption_writes_json_lines(photos, tmp_path, monkeypatch, capsys):
    def texts(images, folder, *, prefix, device, progress):
        assert [tuple(i.shape) for i in images] == [(3, 40, 32), (3, 40, 40), (3, 40, 48)]
        return [f"{prefix} {i}" for i in range(len(images))]

    monkeypatch.setattr(trainwork, "caption", texts)
    command = ["caption", "--photos", str(photos), "--blip", "b", "--out", str(tmp_path)]
    assert main([*command, "--prefix", "a headshot of a"]) == 0
    written = tmp_path / "metadata.jsonl"
    assert str(written) in capsys.readouterr().out
    first = json.loads(written.read_text().splitlines()[0])
    assert first == {"file_name": "p0.png", "text": "a headshot of a 0"}
    written.unlink()
    assert main([*command, "--prefix", "a child"]) == 3
    monkeypatch.setattr(trainwork, "caption", lambda *_, **__: ["a toddler"] * 3)
    assert main(command) == 3
    assert not written.exists()


def test_caption_overwrites_no_file(photos, tmp_path, monkeypatch, capsys):
    written = save_captions({"p0.png": "corrected by hand"}, tmp_path / "metadata.jsonl")
    before = written.read_bytes()
    monkeypatch.setattr(trainwork, "decode_file", forbid)
    monkeypatch.setattr(trainwork, "caption", forbid)
    for out in (tmp_path, written):
        command = ["caption", "--photos", str(photos), "--blip", "b", "--out", str(out)]
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"ERROR/EXISTS: {written}" in said
        assert "give a new --out" in said
    assert written.read_bytes() == before


def test_caption_names_missing_weights(photos, tmp_path, capsys):
    command = ["caption", "--photos", str(photos), "--blip", str(tmp_path), "--out", str(tmp_path)]
    assert main(command) == 2
    assert "ERROR/NO_BLIP" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "mark"), [("visible", visible), ("faint", faint)])
def test_watermark_marks_every_photo(photos, tmp_path, capsys, kind, mark):
    out = tmp_path / "marked"
    for file in photos.iterdir():
        file.unlink()
    (photos / "p.png").write_bytes(png_bytes(torch.full((3, 64, 64), 0.5)))
    command = ["watermark", "--photos", str(photos), "--kind", kind, "--out", str(out)]
    assert main(command) == 0
    assert "1 marked photo in" in capsys.readouterr().out
    made = to_tensor(decode_file(out / "p.png")[0])
    assert torch.equal(made, mark(to_tensor(decode_file(photos / "p.png")[0]), default_logo()))


def test_watermark_overwrites_no_photo(photos, capsys):
    command = ["watermark", "--photos", str(photos), "--out", str(photos)]
    assert main(command) == 2
    assert "ERROR/SAME_FOLDER" in capsys.readouterr().err
    (photos / "p0.jpg").write_bytes((photos / "p0.png").read_bytes())
    assert main([*command[:-1], str(photos / "out")]) == 2
    assert "ERROR/DUPLICATE_NAMES" in capsys.readouterr().err


def test_watermark_overwrites_no_other_picture_and_may_be_repeated(photos, tmp_path, capsys):
    out = tmp_path / "marked"
    command = ["watermark", "--photos", str(photos), "--out", str(out)]
    assert main(command) == 0
    made = {p.name: p.read_bytes() for p in out.iterdir()}
    assert main(command) == 0
    (out / "p0.png").unlink()
    (out / "p2.png").write_bytes(b"another picture")
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"ERROR/EXISTS: {out / 'p2.png'}" in said
    assert "give a new --out" in said
    assert {p.name for p in out.iterdir()} == {"p1.png", "p2.png"}
    assert (out / "p2.png").read_bytes() == b"another picture"
    (out / "p2.png").unlink()
    assert main(command) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == made


def test_a_photo_that_takes_no_mark_is_named(photos, tmp_path, capsys):
    logo = tmp_path / "white.png"
    logo.write_bytes(png_bytes(torch.ones(3, 8, 8)))
    for file in photos.iterdir():
        file.write_bytes(png_bytes(torch.ones(3, 64, 64)))
    command = ["watermark", "--photos", str(photos), "--out", str(tmp_path / "marked")]
    assert main([*command, "--logo", str(logo)]) == 2
    assert f"ERROR/NO_MARK: the visible mark changes no pixel of {photos}" in (
        capsys.readouterr().err
    )
