"""`inpaint`, `localizer` and `localize` from the command line, bad input included."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
import torch
from lora_forensics.core.cli import main
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.images.photos import png_bytes
from lora_forensics.core.inpainting.examples import read_examples
from lora_forensics.core.localization.files import read_card
from lora_forensics.core.sampling.plans import noise_of
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

TRAIN = ["--side", "64", "--width", "0.1", "--batch", "4", "--iterations", "3", "--epochs", "1"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(60):
        (folder / f"p{i:02}.png").write_bytes(png_bytes(noise_of(i, (3, 32, 32)).sigmoid()))
    return folder


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "set"
    args = ["inpaint", "--photos", str(photos), "--out", str(out), "--side", "32"]
    assert main([*args, "--generators", "telea", "navier_stokes"]) == 0
    return out


@pytest.fixture(scope="module")
def model(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "case"
    args = ["localizer", "train", "--examples", str(made), "--out", str(out), *TRAIN]
    assert main(args) == 0
    return out / "localizer.safetensors"


def complaint(capsys, args):
    assert main([str(a) for a in args]) != 0
    return capsys.readouterr().err


def test_a_set_holds_both_generators_and_their_masks(made):
    found = read_examples(made)
    assert {r.generator for r in found.rows} == {"none", "opencv_telea", "opencv_navier_stokes"}
    assert {r.variant for r in found.rows} == {"original", "spliced"}
    spliced = next(r for r in found.rows if r.variant == "spliced")
    original = next(r for r in found.rows if r.source == spliced.source and not r.fake)
    changed = (np.asarray(found.picture(spliced)) != np.asarray(found.picture(original))).any(-1)
    mask = found.mask(spliced)
    assert changed[mask].mean() > 0.9
    assert not changed[~mask].any()


def test_training_again_does_nothing_twice(made, model, capsys, monkeypatch):
    monkeypatch.setattr("lora_forensics.core.localization.training._epoch", None)
    args = ["localizer", "train", "--examples", made, "--out", model.parent, *TRAIN]
    assert main([str(a) for a in args]) == 0
    card = read_card(model)
    assert (card.method, card.source_side, card.side) == ("patches", 32, 64)
    assert {m.name for m in card.measured} == {
        "opencv_telea, spliced", "opencv_navier_stokes, spliced",
    }  # fmt: skip
    capsys.readouterr()
    assert main(["localizer", "show", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "opencv_telea, spliced (seen in training)" in shown
    assert "lead, not proof" in shown


def test_a_set_to_measure_on_is_called_unseen(photos, made, tmp_path, model):
    other = tmp_path / "elsewhere"
    args = ["inpaint", "--photos", photos, "--out", other, "--side", "32", "--masks", "rectangle"]
    assert main([str(a) for a in args]) == 0
    out = tmp_path / "case"
    args = ["localizer", "train", "--examples", made, "--out", out, "--outside", other, *TRAIN]
    assert main([str(a) for a in args]) == 0
    card = read_card(out / "localizer.safetensors")
    assert [m.domain for m in card.measured] == ["in", "in", "out"]
    assert card.measured[-1].name == "elsewhere: opencv_telea, spliced"
    assert {(u.name, u.domain) for u in card.untouched} == {
        ("original", "in"), ("elsewhere: original", "out"),
    }  # fmt: skip


def test_localize_writes_a_page_a_map_and_a_mask(model, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, face in enumerate(draw_faces(2, "generic", 3).pixels):
        Image.fromarray(face).save(pictures / f"f{i}.png")
    out = tmp_path / "out"
    args = ["localize", pictures, "--model", model, "--out", out, "--gate", "off"]
    assert main([str(a) for a in args]) == 0
    assert capsys.readouterr().out.count("marked:") == 2
    for name in ("f0", "f1"):
        told = json.loads((out / name / "report.json").read_text())
        heat = np.asarray(Image.open(out / name / "map.png").convert("L")) / 255
        marked = np.asarray(Image.open(out / name / "mask.png").convert("L")) > 127
        assert heat.shape == (64, 64)
        assert marked.mean() == pytest.approx(told["found"]["area"], abs=1e-6)
        assert np.array_equal(marked, heat > 0.5), "eight bits keep the side of one half"
        page = (out / name / "report.html").read_text()
        assert "A person decides" in page
        assert f"{name}.png" in page
        assert "False alarms" in page
        assert told["localizer"] in page
        assert not re.search(r"(src|href)=\"https?:", page)
        shown = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
        assert [Image.open(io.BytesIO(base64.b64decode(s))).size for s in shown] == [(192, 192)] * 2


def test_the_shipped_localizer_runs_at_once(tmp_path, capsys):
    Image.fromarray(draw_faces(1, "generic", 4).pixels[0]).save(tmp_path / "face.png")
    out = tmp_path / "out"
    assert main(["localize", str(tmp_path / "face.png"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "never seen in training" in said.err
    assert (out / "face" / "report.html").is_file()
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    args = ["localize", tmp_path / "small.png", "--out", tmp_path / "other"]
    assert "IMAGE_TOO_SMALL" in complaint(capsys, args)


def test_pictures_that_cannot_be_looked_at_are_named(model, tmp_path, capsys):
    small = tmp_path / "small.png"
    Image.new("RGB", (14, 40)).save(small)
    assert "BAD_IMAGE_SHAPE" in complaint(
        capsys, ["localize", small, "--model", model, "--out", tmp_path / "a"]
    )
    moving = tmp_path / "moving.gif"
    frames = [Image.new("RGB", (64, 64), c) for c in ("red", "blue")]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    webp = tmp_path / "moving.webp"
    frames[0].save(webp, save_all=True, append_images=frames[1:])
    assert "ANIMATED_IMAGE" in complaint(
        capsys, ["localize", webp, "--model", model, "--out", tmp_path / "b"]
    )
    assert "NOT_AN_IMAGE" in complaint(
        capsys, ["localize", moving, "--model", model, "--out", tmp_path / "c"]
    )


def test_one_bad_picture_does_not_stop_the_others(model, tmp_path, capsys):
    folder = tmp_path / "many"
    folder.mkdir()
    Image.new("RGB", (14, 40)).save(folder / "a.png")
    Image.fromarray(draw_faces(1, "generic", 4).pixels[0]).save(folder / "b.png")
    out = tmp_path / "out"
    assert main(["localize", str(folder), "--model", str(model), "--out", str(out)]) == 2
    assert "BAD_IMAGE_SHAPE" in capsys.readouterr().out
    assert (out / "b" / "report.html").is_file()
    assert not (out / "a").exists()


def test_another_model_s_file_is_named(tmp_path, capsys):
    picture = tmp_path / "p.png"
    Image.new("RGB", (64, 64)).save(picture)
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(4, 2)}, lora)
    args = ["localize", picture, "--model", lora, "--out", tmp_path / "o"]
    assert "NOT_A_LOCALIZER" in complaint(capsys, args)
    pickled = tmp_path / "net.pth"
    torch.save({"a": torch.zeros(1)}, pickled)
    args = ["localize", picture, "--model", pickled, "--out", tmp_path / "o"]
    assert "PICKLE" in complaint(capsys, args)
    assert not (tmp_path / "o").exists()


def test_masks_of_another_size_are_named(photos, tmp_path, capsys):
    masks = tmp_path / "masks"
    masks.mkdir()
    for file in photos.iterdir():
        if file.suffix == ".png":
            Image.new("L", (31, 32), 255).save(masks / file.name)
    args = ["inpaint", "--photos", photos, "--out", tmp_path / "o", "--side", "32"]
    assert "MASK_SIZE" in complaint(capsys, [*args, "--mask-folder", masks])
    (masks / "p00.png").unlink()
    assert "MISSING_MASKS" in complaint(capsys, [*args, "--mask-folder", masks])


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--generators", "repaint"], "MISSING_FLAG"),
        (["--generators", "lama"], "MISSING_FLAG"),
        (["--masks", "parts"], "MISSING_FLAG"),
        (["--whole", "4"], "BAD_SETTING"),
        (["--minor-suspected"], "MINOR_SUSPECTED"),
    ],
)
def test_requests_that_cannot_be_met_are_named(photos, tmp_path, capsys, more, code):
    args = ["inpaint", "--photos", photos, "--out", tmp_path / "o", "--side", "32", *more]
    assert code in complaint(capsys, args)
    assert not (tmp_path / "o").exists()


def test_a_folder_that_is_no_set_is_named(photos, tmp_path, capsys):
    args = ["localizer", "train", "--examples", photos, "--out", tmp_path / "o"]
    assert "NOT_EXAMPLES" in complaint(capsys, args)


def test_a_set_that_was_changed_is_named(made, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    row = next(r for r in read_examples(copy).rows if r.split == "train")
    (copy / row.file).unlink()
    args = ["localizer", "train", "--examples", copy, "--out", tmp_path / "o", *TRAIN]
    assert "CHANGED_EXAMPLE" in complaint(capsys, args)


def test_a_localizer_is_measured_on_another_set(model, made, capsys):
    assert main(["localizer", "measure", str(model), "--examples", str(made)]) == 0
    shown = capsys.readouterr().out
    assert "opencv_telea, spliced (in this set): IoU" in shown
    assert re.search(r"original \(in this set\): nothing repainted, yet \d+ of 60", shown)


def test_grad_cam_of_a_classifier_of_one_s_own(tmp_path, capsys):
    torch.manual_seed(0)
    save_file(models.resnet18(num_classes=2).state_dict(), tmp_path / "net.safetensors")
    Image.fromarray(draw_faces(1, "generic", 4).pixels[0]).save(tmp_path / "face.png")
    args = ["localizer", "gradcam", tmp_path / "face.png", "--out", tmp_path / "out", "--side", 64]
    args += ["--classifier", tmp_path / "net.safetensors", "--architecture", "resnet18"]
    assert main([str(a) for a in [*args, "--layer", "layer4"]]) == 0
    assert "class 1 has probability 0." in capsys.readouterr().out
    assert Image.open(tmp_path / "out" / "face-heat.png").size == (64, 64)
    assert "BAD_LAYER" in complaint(capsys, [*args, "--layer", "layer9"])
