"""Placebos, logos and fingerprints in the node layer; needs no ComfyUI."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lora_forensics.core.errors import InputError, LoraFormatError
from lora_forensics.core.lora.header import sha256_tensors
from lora_forensics.core.lora.operators import Full, LowRank
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.types import ModelHashes
from lora_forensics.nodes import _host, _nulls
from lora_forensics.nodes._changes import Change
from safetensors.torch import save_file


def suspect(tuned="t", strength=1.0):
    return SimpleNamespace(hashes=ModelHashes("b", tuned), strength=strength, inspection=None)


def files_in(folder, *contents):
    """Files of one tensor each; the file's number is its metadata."""
    paths = [folder / f"{i}.safetensors" for i in range(len(contents))]
    for i, (path, content) in enumerate(zip(paths, contents, strict=True)):
        save_file(
            {"a": torch.frombuffer(bytearray(content), dtype=torch.uint8)}, path, {"n": str(i)}
        )
    return paths


def test_each_file_becomes_a_null_model_of_its_own(tmp_path):
    files = files_in(tmp_path, b"one", b"two")
    made = _nulls.placebos_of(suspect(), files)
    group = made.group(suspect(), None, 64, None)
    assert (group.kind, group.controls, group.note) == ("placebo", None, "2 LoRAs of one folder")
    names = [m.name for m in group.models]
    assert names == [f"placebo-{h[:16]}" for h in made.hashes]
    assert len(set(names)) == 2


def test_the_suspect_or_one_file_twice_is_refused(tmp_path):
    files = files_in(tmp_path, b"one", b"two", b"one")
    assert files[0].read_bytes() != files[2].read_bytes()  # but for metadata they are one adapter
    with pytest.raises(InputError, match="SAME_ADAPTER"):
        _nulls.placebos_of(suspect(), files)
    copied = suspect()
    copied.inspection = SimpleNamespace(tensor_sha256=sha256_tensors(files[1]))
    with pytest.raises(InputError, match="SAME_ADAPTER"):
        _nulls.placebos_of(copied, files[1:])
    sha256 = _nulls.placebos_of(suspect(), files[:1]).hashes[0]
    with pytest.raises(InputError, match="SAME_ADAPTER"):
        _nulls.placebos_of(suspect(sha256), files[:1])


@pytest.mark.parametrize("other", [suspect("u"), suspect(strength=0.5)])
def test_placebos_are_for_one_suspect(tmp_path, other):
    made = _nulls.placebos_of(suspect(), files_in(tmp_path, b"one"))
    with pytest.raises(InputError, match="MIXED_EVIDENCE"):
        made.group(other, None, 64, None)


def test_nothing_connected_means_no_group(tmp_path):
    made = _nulls.placebos_of(suspect(), files_in(tmp_path, b"one"))
    assert _nulls.null_groups(suspect(), None, 64, None, None, None) == ()
    assert len(_nulls.null_groups(suspect(), None, 64, None, made, None)) == 1


def test_equal_changes_are_found_whatever_the_file():
    low = LowRank(noise_of(1, (2, 4)), noise_of(2, (3, 2)), None, 1.0)
    dense = Full(noise_of(3, (3, 4)), None)
    mine = [Change("a", low), Change("b", dense)]
    copy = [Change("a", replace(low, up=low.up.clone())), Change("b", dense)]
    assert _nulls.same_changes(mine, copy)
    assert _nulls.same_changes([], [])
    others = (
        [Change("a", replace(low, up=low.up * 2)), Change("b", dense)],
        [Change("c", low), Change("b", dense)],
        [Change("a", dense), Change("b", dense)],
        mine[:1],
    )
    assert not any(_nulls.same_changes(mine, other) for other in others)


def test_a_logo_takes_its_transparency_from_the_mask():
    logo = torch.rand(1, 4, 6, 3)
    mask = torch.zeros(1, 4, 6)
    mask[0, 0] = 1  # the host's masks are 1 where a picture is transparent
    found = _host.logo_of(logo, mask)
    torch.testing.assert_close(found[:3], logo[0].movedim(-1, 0))
    assert found[3, 0].max() == 0
    assert found[3, 1:].min() == 1
    assert _host.logo_of(logo, None)[3].min() == 1
    assert _host.logo_of(torch.rand(1, 4, 6, 4), None).shape == (4, 4, 6)
    assert len(_host.logo_of(None, None)) == 4
    for wrong in ((logo, mask[:, :2]), (None, mask)):
        with pytest.raises(InputError, match="BAD_SHAPE"):
            _host.logo_of(*wrong)


def test_a_placebo_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise LoraFormatError("WRONG_BASE", "only 1 of the file's 9 tensors fit this MODEL")

    monkeypatch.setattr(_nulls, "suspect_from_file", fails)
    mine = suspect()
    mine.base = mine.clip = None
    group = _nulls.placebos_of(mine, files_in(tmp_path, b"one")).group(mine, None, 64, None)
    with pytest.raises(LoraFormatError, match=r"ERROR/WRONG_BASE: 0\.safetensors: only 1"):
        group.models[0].open()


def test_a_new_file_in_a_session_changes_the_fingerprint(tmp_path):
    (tmp_path / "s").mkdir()
    before = _host.fingerprint(tmp_path)
    assert _host.fingerprint(tmp_path) == before
    (tmp_path / "s" / "9.png").write_bytes(b"x")
    assert _host.fingerprint(tmp_path) != before
