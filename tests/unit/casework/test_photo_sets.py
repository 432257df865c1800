"""Photos and controls of a door: sessions, duplicates, twins set aside, canonical photos."""

import numpy as np
import pytest
import torch
from lora_forensics.core.casework.exhibits import exhibits, heat_pictures
from lora_forensics.core.casework.photo_sets import (
    PhotoSet,
    captions_for,
    compared_sets,
    folder_set,
)
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.sampling.plans import noise_of
from PIL import Image


@pytest.fixture
def folders(tmp_path):
    """Three photos, two of one session; three controls in two sessions."""
    names = ("p/1", "p/s/2", "p/s/3", "c/x/1", "c/x/2", "c/y/3")
    for k, name in enumerate(names):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(path)
    return [PhotoSet(tuple(sorted((tmp_path / n).rglob("*.png"))), root=tmp_path / n) for n in "pc"]


def test_sub_folders_are_sessions(folders):
    ids = compared_sets(*folders, 32)[0].sessions
    assert [len(set(ids[:3])), len(set(ids[3:]))] == [2, 2]
    assert not set(ids[:3]) & set(ids[3:])


def test_a_folder_of_one_session_alone_is_one_session(folders):
    only = PhotoSet(folders[0].files[1:], root=folders[0].root)
    assert len(set(compared_sets(only, folders[1], 32)[0].sessions[:2])) == 1


def test_canonical_photos_keep_their_kind_size_and_steps(folders):
    sets, _ = compared_sets(*folders, 32)
    ready = [PhotoSet(ready=p, done=("a", "b")) for p in (sets.photos, sets.controls)]
    again, _ = compared_sets(*ready, 32)
    assert [len(again.photos), len(again.controls)] == [3, 3]
    swapped = compared_sets(ready[1], ready[0], 32)[0].photos
    assert {s.kind for s in swapped.images.sources} == {"photo"}
    assert ready[0].steps(32) == ("a", "b")
    assert "32 x 32" in folders[0].steps(32)[1]
    with pytest.raises(InputError, match="OTHER_SIZE"):
        compared_sets(*ready, 64)
    with pytest.raises(InputError, match="MIXED_EVIDENCE"):
        compared_sets(ready[0], folders[1], 32)


def test_one_caption_stands_for_all_or_there_is_one_each():
    assert captions_for("", "known", 2, "photo") == ("known", "known")
    assert captions_for(" a \n", "known", 2, "photo") == ("a", "a")
    assert captions_for("a\n\nb\n", "known", 2, "photo") == ("a", "b")
    with pytest.raises(InputError, match="CAPTION_COUNT"):
        captions_for("a\nb\nc", "known", 2, "photo")


def test_heat_maps_lie_where_the_report_looks(folders):
    sets, _ = compared_sets(*folders, 32)
    maps = heat_pictures(sets, noise_of(1, (3, 4, 4)))
    assert list(maps) == [f"pictures/heat-{i:04d}.png" for i in range(3)]
    assert all(p.shape == (3, 32, 32) for p in maps.values())
    assert list(exhibits(sets)) == [f"pictures/photo-{i:04d}.png" for i in range(3)]


def mirrored(path, at):
    """The picture once more, mirrored and compressed: a twin, not the same file."""
    at.parent.mkdir(parents=True, exist_ok=True)
    Image.open(path, formats=("PNG",)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(at)


def test_a_control_that_shows_a_photo_again_is_set_aside_and_kept_for_a_person(folders, tmp_path):
    mirrored(tmp_path / "p" / "1.png", tmp_path / "c" / "z" / "twin.jpg")
    sets, dropped = compared_sets(folder_set(tmp_path / "p"), folder_set(tmp_path / "c"), 32)
    assert (len(sets.photos), len(sets.controls), dropped) == (3, 3, ())
    assert [f.name for f in sets.twins.facts] == ["z/twin.jpg"]
    assert sets.photos.facts[sets.twin_of[0]].name == "1.png"


def test_the_same_file_on_both_sides_is_refused_by_name(folders, tmp_path):
    (tmp_path / "c" / "same.png").write_bytes((tmp_path / "p" / "1.png").read_bytes())
    with pytest.raises(InputError, match=r"DUPLICATE_PHOTOS: .*1\.png = same\.png"):
        compared_sets(folder_set(tmp_path / "p"), folder_set(tmp_path / "c"), 32)


def test_controls_that_are_all_twins_leave_too_few(folders, tmp_path):
    for k in (1, 2, 3):
        mirrored(next((tmp_path / "p").rglob(f"{k}.png")), tmp_path / "t" / f"{k}.jpg")
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_CONTROLS"):
        compared_sets(folder_set(tmp_path / "p"), folder_set(tmp_path / "t"), 32)


def test_pixels_beside_files_drop_the_facts_of_files(folders):
    pixels = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    sets, _ = compared_sets(PhotoSet(pixels=(pixels,)), folders[1], 32)
    assert {f.format for p in (sets.photos, sets.controls) for f in p.facts} == {"IMAGE"}
