"""Hostile headers: what the strict reader refuses, by name, and never accepts past the library."""

import gzip
import hashlib
import json
import struct
import zipfile

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError
from lora_forensics.core.lora.header import (
    kohya_hashes,
    legacy_hash,
    load_tensors,
    parse_header,
    read_header,
    sha256_file,
    sha256_tensors,
)
from lora_forensics.core.lora.sniffing import sniff
from safetensors import SafetensorError

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def pack(header, data=b"\0" * 8):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def tensor(**changes):
    return {"a": GOOD | changes}


def named(name):
    return pack({name: GOOD})


def two(first, second, data=b"\0" * 16):
    return pack({"a": GOOD | first, "b": GOOD | second}, data)


ENTRY = b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def written(*fields):
    """A header of `fields` as they stand, which `json` would not write."""
    return pack(b"{" + b",".join(fields) + b"}")


A = b'"a":' + ENTRY
EMPTY = {"shape": [0], "data_offsets": [0, 0]}
MANY = {f"t{i}": {"dtype": "U8", **EMPTY} for i in range(20_001)}

# name -> (bytes, expected code; None means accepted)
CORPUS = {
    "plain": (pack(tensor()), None),
    "padded": (pack(json.dumps(tensor()).encode() + b"   "), None),
    "metadata": (pack({"__metadata__": {"a": "b"}, **tensor()}), None),
    "scalar": (pack(tensor(shape=[], data_offsets=[0, 4]), b"\0" * 4), None),
    "two tensors": (two({}, {"data_offsets": [8, 16]}), None),
    "unicode name": (named("é漢"), None),
    "longest name": (named("n" * 512), None),
    "rank five": (pack(tensor(shape=[1, 1, 1, 1, 2])), None),
    "short": (b"\x10\0\0", "TRUNCATED"),
    "length beyond file": (struct.pack("<Q", 999) + b"{}", "TRUNCATED"),
    "length zero": (struct.pack("<Q", 0) + b"{}", "MALFORMED_HEADER"),
    "length 17 MiB": (struct.pack("<Q", 17 << 20) + b"{}", "HEADER_TOO_LARGE"),
    "length 2^63": (struct.pack("<Q", 1 << 63) + b"{}", "HEADER_TOO_LARGE"),
    "length 2^64-1": (b"\xff" * 8 + b"{}", "HEADER_TOO_LARGE"),
    "array": (pack(b"[1,2]"), "MALFORMED_HEADER"),
    "bad JSON": (pack(b'{"a":}'), "MALFORMED_HEADER"),
    "byte order mark": (pack(b"\xef\xbb\xbf{}"), "MALFORMED_HEADER"),
    "not UTF-8": (pack(b'{"\xff":1}'), "MALFORMED_HEADER"),
    "lone surrogate": (written(b'"\\ud800":' + ENTRY), "BAD_TENSOR_NAME"),
    "leading spaces": (pack(b"  " + json.dumps(tensor()).encode()), "MALFORMED_HEADER"),
    "trailing NUL": (pack(json.dumps(tensor()).encode() + b"\0"), "MALFORMED_HEADER"),
    "trailing newline": (pack(json.dumps(tensor()).encode() + b"\n"), "MALFORMED_HEADER"),
    "trailing object": (pack(json.dumps(tensor()).encode() + b"{}"), "MALFORMED_HEADER"),
    "NaN": (pack(b'{"a":NaN}'), "MALFORMED_HEADER"),
    "deep nesting": (pack(b'{"a":' * 60_000 + b"}" * 60_000), "MALFORMED_HEADER"),
    "huge integer": (written(A.replace(b"[2]", b"[" + b"9" * 5000 + b"]")), "MALFORMED_HEADER"),
    "minus zero": (written(A.replace(b"[0,", b"[-0,")), "MALFORMED_HEADER"),
    "same name, same bytes": (written(A, A), "DUPLICATE_KEY"),
    "same name, other dtype": (written(A.replace(b"F32", b"I32"), A), "DUPLICATE_KEY"),
    "metadata key twice": (written(b'"__metadata__":{"k":"1","k":"2"}', A), "DUPLICATE_KEY"),
    "metadata twice": (written(b'"__metadata__":{},"__metadata__":{}', A), "DUPLICATE_KEY"),
    "field twice": (written(A[:-1] + b',"dtype":"F32"}'), "DUPLICATE_KEY"),
    "escaped duplicate": (written(A, b'"\\u0061":' + ENTRY), "DUPLICATE_KEY"),
    "metadata number": (pack({"__metadata__": {"a": 1}, **tensor()}), "MALFORMED_HEADER"),
    "metadata nested": (pack({"__metadata__": {"a": {}}, **tensor()}), "MALFORMED_HEADER"),
    "metadata list": (pack({"__metadata__": [], **tensor()}), "MALFORMED_HEADER"),
    "metadata surrogate": (written(b'"__metadata__":{"a":"\\udfff"}', A), "MALFORMED_HEADER"),
    "extra field": (pack(tensor(note="x")), "MALFORMED_HEADER"),
    "missing field": (pack({"a": {"dtype": "F32", "shape": [2]}}), "MALFORMED_HEADER"),
    "tensor is text": (pack({"a": "F32"}), "MALFORMED_HEADER"),
    "name empty": (named(""), "BAD_TENSOR_NAME"),
    "name with NUL": (named("a\0b"), "BAD_TENSOR_NAME"),
    "name with newline": (named("a\nb"), "BAD_TENSOR_NAME"),
    "name with C1": (named("a\x9bb"), "BAD_TENSOR_NAME"),
    "name of 513": (named("n" * 513), "BAD_TENSOR_NAME"),
    "name of 1 MB": (named("n" * 1_000_000), "BAD_TENSOR_NAME"),
    "rank six": (pack(tensor(shape=[1] * 5 + [2])), "BAD_SHAPE"),
    "rank 5000": (pack(tensor(shape=[1] * 4999 + [2])), "BAD_SHAPE"),
    "zero size": (pack(tensor(**EMPTY), b""), "BAD_SHAPE"),
    "zero by huge": (pack(tensor(shape=[2**40 + 1, 0], data_offsets=[0, 0]), b""), "BAD_SHAPE"),
    "zero-size beside real": (two({}, EMPTY | {"data_offsets": [8, 8]}, b"\0" * 8), "BAD_SHAPE"),
    "negative size": (pack(tensor(shape=[-2])), "BAD_SHAPE"),
    "float size": (pack(tensor(shape=[2.0])), "BAD_SHAPE"),
    "bool size": (pack(tensor(shape=[True, 2])), "BAD_SHAPE"),
    "text size": (pack(tensor(shape=["2"])), "BAD_SHAPE"),
    "shape against bytes": (pack(tensor(shape=[3])), "BAD_SHAPE"),
    "overflowing product": (pack(tensor(shape=[2**40, 2**40])), "BAD_SHAPE"),
    "unknown dtype": (pack(tensor(dtype="F31")), "BAD_DTYPE"),
    "lower-case dtype": (pack(tensor(dtype="f32")), "BAD_DTYPE"),
    "bool dtype": (pack(tensor(dtype="BOOL", shape=[8])), "BAD_DTYPE"),
    "complex dtype": (pack(tensor(dtype="C64", shape=[1])), "BAD_DTYPE"),
    "scale dtype": (pack(tensor(dtype="F8_E8M0", shape=[8])), "BAD_DTYPE"),
    "half-byte dtype": (pack(tensor(dtype="F4", shape=[16])), "BAD_DTYPE"),
    "list dtype": (pack(tensor(dtype=[])), "BAD_DTYPE"),
    "three offsets": (pack(tensor(data_offsets=[0, 4, 8])), "MALFORMED_HEADER"),
    "end before start": (pack(tensor(data_offsets=[8, 0])), "MALFORMED_HEADER"),
    "overlap": (two({}, {"data_offsets": [4, 12]}), "MALFORMED_HEADER"),
    "same bytes": (two({}, {}, b"\0" * 8), "MALFORMED_HEADER"),
    "hole": (two({}, {"data_offsets": [16, 24]}, b"\0" * 24), "MALFORMED_HEADER"),
    "first hole": (pack(tensor(data_offsets=[8, 16]), b"\0" * 16), "MALFORMED_HEADER"),
    "bytes after": (pack(tensor(), b"\0" * 9), "MALFORMED_HEADER"),
    "cut data": (pack(tensor(), b"\0" * 7), "TRUNCATED"),
    "no tensor": (pack({"__metadata__": {"a": "b"}}, b""), "NO_TENSORS"),
    "empty object": (pack({}, b""), "NO_TENSORS"),
    "20,001 tensors": (pack(MANY, b""), "TOO_MANY_TENSORS"),
    "GGUF": (b"GGUF\x03\0\0\0" + b"\0" * 64, "NOT_SAFETENSORS"),
    "HTML": (b"<!DOCTYPE html><html><body>Log in</body></html>", "NOT_SAFETENSORS"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha", "NOT_SAFETENSORS"),
    "raw pickle": (b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u.", "PICKLE"),
    "gzip": (gzip.compress(b"x" * 99), "ARCHIVE"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + b"\0" * 32, "ARCHIVE"),
    "tar": (b"a" * 257 + b"ustar\0" + b"\0" * 200, "ARCHIVE"),
}


@pytest.mark.parametrize(("data", "code"), CORPUS.values(), ids=CORPUS)
def test_corpus(tmp_path, data, code):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    if code is None:
        header = read_header(path)
        assert set(load_tensors(path)) == set(header.tensors)
        return
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.code == code
    with pytest.raises(InputError):
        load_tensors(path)


@pytest.mark.parametrize(
    ("names", "kind", "code"),
    [
        (["x/data.pkl", "x/data/0"], "pytorch zip", "PICKLE"),
        (["x/data.pkl", "x/code/__torch__.py"], "torchscript", "TORCHSCRIPT"),
        (["x/data.pkl", "x/constants.pkl"], "torchscript", "TORCHSCRIPT"),
        (["lora.safetensors"], "zip archive", "ARCHIVE"),
    ],
)
def test_zips_are_named_and_not_opened(tmp_path, names, kind, code):
    path = tmp_path / "a.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    assert sniff(path) == kind
    with pytest.raises(InputError, match=kind) as caught:
        read_header(path)
    assert caught.value.code == code


def test_a_real_torch_file_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="pytorch zip"):
        read_header(path)


def test_folder_and_missing_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(InputError) as caught:
            read_header(path)
        assert caught.value.code == "MISSING_FILE"


def test_zero_size_can_be_allowed():
    raw = json.dumps(tensor(**EMPTY)).encode()
    header = parse_header(raw, 8 + len(raw), allow_zero_size=True)
    assert header.tensors["a"].shape == (0,)


def library_accepts(data):
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError):
        return None


DTYPES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "F64": 8}


@st.composite
def valid_files(draw):
    header, position = {}, 0
    names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        if name == "__metadata__":
            continue
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        shape = draw(st.lists(st.integers(1, 3), max_size=4))
        size = DTYPES[dtype] * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4)))
    try:
        json.dumps(header, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        header.pop("__metadata__")
    return pack(json.dumps(header, ensure_ascii=False).encode(), b"\1" * position)


@st.composite
def mutated_files(draw):
    data = bytearray(draw(valid_files()))
    at = draw(st.integers(0, len(data) - 1))
    match draw(st.sampled_from(["byte", "cut", "insert", "drop"])):
        case "byte":
            data[at] = draw(st.integers(0, 255))
        case "cut":
            del data[at:]
        case "insert":
            data[at:at] = draw(st.sampled_from([b" ", b'"', b"0", b"-", b"{", b",", b"1", b"\0"]))
        case "drop":
            del data[at]
    return bytes(data)


def ours(data):
    length = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or length > len(data) - 8 or length < 2:
            return None
        return parse_header(data[8 : 8 + length], len(data))
    except InputError:
        return None


@settings(max_examples=150, deadline=None)
@given(valid_files())
def test_valid_files_are_accepted_with_the_librarys_own_values(data):
    header, tensors = ours(data), library_accepts(data)
    assert header is not None
    assert tensors is not None
    assert {k: tuple(v.shape) for k, v in tensors.items()} == {
        k: v.shape for k, v in header.tensors.items()
    }


@settings(max_examples=500, deadline=None)
@given(mutated_files())
def test_never_accepts_what_the_library_refuses(data):
    header = ours(data)
    if header is not None:
        tensors = library_accepts(data)
        assert tensors is not None
        assert set(tensors) == set(header.tensors)


def test_hashes_follow_kohya(tmp_path):
    tensors = {"b": torch.arange(400_000.0), "a": torch.ones(7, dtype=torch.float16)}
    metadata = {"ss_seed": "1", "modelspec.title": "x"}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, metadata | {"sshs_model_hash": "0"})
    reference = safetensors.torch.save(tensors, {"ss_seed": "1"})
    start = 8 + int.from_bytes(reference[:8], "little")
    model = hashlib.sha256(reference[start:]).hexdigest()
    legacy = hashlib.sha256(reference[0x100000:0x110000]).hexdigest()[:8]
    assert kohya_hashes(tensors, metadata) == (model, legacy)
    assert sha256_tensors(path) == model
    assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert legacy_hash(path) == hashlib.sha256(path.read_bytes()[0x100000:0x110000]).hexdigest()[:8]


@pytest.mark.parametrize("read", [read_header, load_tensors, sha256_tensors])
def test_errors_name_the_file_where_there_is_one(tmp_path, read):
    path = tmp_path / "short.safetensors"
    path.write_bytes(struct.pack("<Q", 1000) + b"{}")
    with pytest.raises(InputError, match=r"ERROR/TRUNCATED: short\.safetensors: the header"):
        read(path)
