"""A strict reader of safetensors headers, stricter than the library that loads the tensors.

The library accepts duplicate keys, unknown fields, 99 MB headers and names with control
characters; two readers could then see two models in one file. Nothing here maps a file.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import ForensicsError, LoraFormatError, UnsafeFileError, plural
from ..records import strict_json
from .sniffing import refuse_other_format

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 20_000
MAX_NAME_CHARS = 512
MAX_RANK = 5
MAX_DIM = 2**40
DTYPE_BYTES: dict[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I8": 1,
    "U8": 1,
    "I32": 4,
    "I64": 8,
}
_FIELDS = {"dtype", "shape", "data_offsets"}
_PREFIX = 8
_CHUNK = 1024 * 1024
_LEGACY_OFFSET = 0x100000
_LEGACY_BYTES = 0x10000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it; ``begin`` and ``end`` are bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """A header that passed every check; ``data_start`` and ``file_size`` are in bytes."""

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]
    data_start: int
    file_size: int


def read_header(path: str | Path, *, allow_zero_size: bool = False) -> SafetensorsHeader:
    """Reads and checks the header of a file; the tensor bytes are not read.

    Args:
        path: the file; its extension is ignored, its content decides.
        allow_zero_size: accept tensors without elements, which no adapter has.

    Raises:
        LoraFormatError: NOT_SAFETENSORS, MALFORMED_HEADER, DUPLICATE_KEY, BAD_TENSOR_NAME,
            BAD_SHAPE, BAD_DTYPE, TRUNCATED, NO_TENSORS, MISSING_FILE.
        UnsafeFileError: PICKLE, TORCHSCRIPT, ARCHIVE, HEADER_TOO_LARGE, TOO_MANY_TENSORS.
    """
    path = existing_file(path)
    refuse_other_format(path)
    size = path.stat().st_size
    with path.open("rb") as file, named(path):
        length = header_length(file.read(_PREFIX), size)
        return parse_header(file.read(length), size, allow_zero_size=allow_zero_size)


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Loads all tensors from one read of the file, after the strict reader accepted those bytes.

    Reading instead of mapping: a mapped file that somebody truncates kills the process.
    """
    path = existing_file(path)
    refuse_other_format(path)
    with named(path):
        return tensors_from_bytes(path.read_bytes())


def tensors_from_bytes(data: bytes) -> dict[str, Tensor]:
    """Tensors of a safetensors file held in memory, checked by `parse_header` first."""
    length = header_length(data[:_PREFIX], len(data))
    parse_header(data[_PREFIX : _PREFIX + length], len(data))
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise LoraFormatError(
            "MALFORMED_HEADER", f"the safetensors library refused the file: {error}"
        ) from error


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Errors raised inside say first which file they are about; kind and code stay."""
    name = Path(path).name
    try:
        yield
    except ForensicsError as error:
        text = str(error).removeprefix(f"ERROR/{error.code}: ")
        if text.startswith((name, repr(name))):
            raise
        raise type(error)(error.code, f"{name}: {text}") from error


def existing_file(path: str | Path) -> Path:
    """The path, if it is a regular file; a folder or a missing name raises MISSING_FILE."""
    path = Path(path)
    if path.is_dir():
        raise LoraFormatError(
            "MISSING_FILE",
            f"{path.name!r} is a folder; give the .safetensors file inside it "
            "(adapter_model.safetensors for PEFT).",
        )
    if not path.is_file():
        raise LoraFormatError("MISSING_FILE", f"there is no file {str(path)!r}.")
    return path


def header_length(prefix: bytes, file_size: int) -> int:
    """Length in bytes of the JSON header, from the 8-byte little-endian prefix."""
    if len(prefix) < _PREFIX:
        raise LoraFormatError(
            "TRUNCATED", f"the file has {file_size} bytes; a safetensors file has more than 8."
        )
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise UnsafeFileError(
            "HEADER_TOO_LARGE",
            f"the header claims {length} bytes; at most {MAX_HEADER_BYTES} are read. "
            "This is not a LoRA, or not a safetensors file.",
        )
    if length > file_size - _PREFIX:
        raise LoraFormatError(
            "TRUNCATED", f"the header claims {length} bytes, the file has {file_size}."
        )
    if length < 2:
        _malformed(f"header length {length}, expected at least 2")
    return length


def parse_header(raw: bytes, file_size: int, *, allow_zero_size: bool = False) -> SafetensorsHeader:
    """Checks the JSON header ``raw`` of a file of ``file_size`` bytes; errors as `read_header`."""
    entries = _decode(raw)
    metadata = _metadata(entries.pop("__metadata__", {}))
    if len(entries) > MAX_TENSORS:
        raise UnsafeFileError(
            "TOO_MANY_TENSORS", f"{len(entries)} tensors given, at most {MAX_TENSORS} are read."
        )
    if not entries:
        raise LoraFormatError("NO_TENSORS", "the file holds metadata but no tensor.")
    tensors = {name: _tensor(name, fields) for name, fields in entries.items()}
    if not allow_zero_size:
        _refuse_zero_size(tensors)
    data_start = _PREFIX + len(raw)
    _check_layout(tensors, file_size - data_start)
    return SafetensorsHeader(metadata, tensors, data_start, file_size)


def sha256_file(path: str | Path) -> str:
    """SHA-256 of the whole file, hex."""
    return _sha256_from(existing_file(path), 0)


def sha256_tensors(path: str | Path) -> str:
    """SHA-256 of the bytes after the header, hex: kohya's ``sshs_model_hash``.

    kohya hashes the file as re-saved with only its ``ss_`` metadata. The tensor bytes do not
    depend on metadata, so the file as it lies gives the same value.
    """
    path = existing_file(path)
    with path.open("rb") as file, named(path):
        length = header_length(file.read(_PREFIX), path.stat().st_size)
    return _sha256_from(path, _PREFIX + length)


def legacy_hash(path: str | Path) -> str:
    """First 8 hex digits of the SHA-256 of 64 KiB at offset 1 MiB: ``ss_sd_model_hash``."""
    with existing_file(path).open("rb") as file:
        file.seek(_LEGACY_OFFSET)
        return hashlib.sha256(file.read(_LEGACY_BYTES)).hexdigest()[:8]


def kohya_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[str, str]:
    """Recomputes ``(sshs_model_hash, sshs_legacy_hash)`` as sd-scripts does when it saves.

    Source: kohya-ss/sd-scripts ``precalculate_safetensors_hashes``: the tensors are serialised
    in the library's canonical order with only the ``ss_`` metadata, then hashed.
    """
    trainer = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    data = safetensors.torch.save(dict(tensors), trainer)
    start = _PREFIX + int.from_bytes(data[:_PREFIX], "little")
    legacy = data[_LEGACY_OFFSET : _LEGACY_OFFSET + _LEGACY_BYTES]
    return hashlib.sha256(data[start:]).hexdigest(), hashlib.sha256(legacy).hexdigest()[:8]


def _decode(raw: bytes) -> dict[str, Any]:
    if not raw.startswith(b"{") or not raw.rstrip(b" ").endswith(b"}"):
        _malformed("expected one JSON object, padded at its end by spaces only")
    return strict_json(raw)


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _malformed("__metadata__ must map text to text")
    if not all(_encodable(key) and _encodable(text) for key, text in value.items()):
        _malformed("__metadata__ holds a lone surrogate")
    return value


def _tensor(name: str, fields: Any) -> TensorInfo:
    _check_name(name)
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        _malformed(f"tensor {name!r} must have exactly the fields {sorted(_FIELDS)}")
    dtype = fields["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise LoraFormatError(
            "BAD_DTYPE", f"tensor {name!r} has dtype {dtype!r}; read are {sorted(DTYPE_BYTES)}."
        )
    shape = _shape(name, fields["shape"])
    begin, end = _offsets(name, fields["data_offsets"])
    if math.prod(shape) * DTYPE_BYTES[dtype] != end - begin:
        raise LoraFormatError(
            "BAD_SHAPE",
            f"tensor {name!r}: shape {list(shape)} of {dtype} does not fill {end - begin} bytes.",
        )
    return TensorInfo(dtype, shape, begin, end)


def _check_name(name: str) -> None:
    printable = not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name)
    if not 1 <= len(name) <= MAX_NAME_CHARS or not printable or not _encodable(name):
        raise LoraFormatError(
            "BAD_TENSOR_NAME",
            f"tensor name {name[:40]!r} ({len(name)} characters): expected 1 to "
            f"{MAX_NAME_CHARS} characters without control characters.",
        )


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if not _is_sizes(value) or len(value) > MAX_RANK or any(dim > MAX_DIM for dim in value):
        raise LoraFormatError(
            "BAD_SHAPE",
            f"tensor {name!r} has shape {str(value)[:80]}; expected at most {MAX_RANK} "
            f"whole numbers up to 2^40.",
        )
    return tuple(value)


def _offsets(name: str, value: Any) -> tuple[int, int]:
    if not _is_sizes(value) or len(value) != 2 or value[0] > value[1]:
        _malformed(f"tensor {name!r} has data_offsets {str(value)[:80]}")
    return value[0], value[1]


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _refuse_zero_size(tensors: Mapping[str, TensorInfo]) -> None:
    empty = [name for name, info in tensors.items() if info.begin == info.end]
    if empty:
        raise LoraFormatError(
            "BAD_SHAPE", f"{plural(len(empty), 'tensor')} without an element: {empty[:20]}."
        )


def _check_layout(tensors: Mapping[str, TensorInfo], data_size: int) -> None:
    position = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != position:
            _malformed(f"tensor {name!r} begins at {info.begin}, expected {position}")
        position = info.end
    if position > data_size:
        raise LoraFormatError(
            "TRUNCATED", f"the tensors need {position} bytes, the file holds {data_size}."
        )
    if position < data_size:
        _malformed(f"{data_size - position} bytes after the last tensor")


def _sha256_from(path: Path, offset: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def _malformed(reason: str) -> Never:
    raise LoraFormatError("MALFORMED_HEADER", f"not a sound safetensors header: {reason}.")
