"""Says what a file really is by its first bytes, so that a wrong file gets a useful refusal."""

import zipfile
from pathlib import Path

from ..errors import LoraFormatError, UnsafeFileError

_TAR_MAGIC_AT = 257
_SNIFFED_BYTES = 512
_MAX_ZIP_ENTRIES = 100_000

_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "gguf"),
    (b"version https://git-lfs.github.com", "git-lfs pointer"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "rar archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\x00", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"\x89PNG\r\n\x1a\n", "png image"),
    (b"\xff\xd8\xff", "jpeg image"),
    (b"%PDF", "pdf"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x93NUMPY", "numpy array"),
)
_HTML_STARTS = (b"<!doctype", b"<html", b"<?xml", b"<head")
_CONVERT = "Convert it to .safetensors on a machine you do not mind losing."
_REFUSALS: dict[str, tuple[type[LoraFormatError] | type[UnsafeFileError], str, str]] = {
    "pytorch zip": (UnsafeFileError, "PICKLE", _CONVERT),
    "pickle": (UnsafeFileError, "PICKLE", _CONVERT),
    "torchscript": (UnsafeFileError, "TORCHSCRIPT", "TorchScript is a program. " + _CONVERT),
    "zip archive": (UnsafeFileError, "ARCHIVE", "Unpack it and give the .safetensors file."),
    "html": (
        LoraFormatError,
        "NOT_SAFETENSORS",
        "The download was probably a log-in or error page; download the file again.",
    ),
    "git-lfs pointer": (
        LoraFormatError,
        "NOT_SAFETENSORS",
        "Run `git lfs pull` to fetch the real file.",
    ),
}


def sniff(path: str | Path) -> str:
    """Names the content of a file, whatever its extension.

    Returns:
        ``"safetensors"``, ``"pytorch zip"``, ``"torchscript"``, ``"pickle"``, ``"gguf"``,
        ``"zip archive"`` and its kin, ``"html"``, ``"git-lfs pointer"``, ``"empty"`` or
        ``"unknown"``. ``"safetensors"`` means that it looks like one, not that it is valid.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES)
    if not head:
        return "empty"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _sniff_zip(path)
    return _sniff_head(head)


def refuse_other_format(path: str | Path) -> None:
    """Raises the refusal that fits the content, and returns if the content has no known name.

    Raises:
        UnsafeFileError: PICKLE, TORCHSCRIPT or ARCHIVE.
        LoraFormatError: NOT_SAFETENSORS.
    """
    kind = sniff(path)
    if kind in ("safetensors", "unknown", "empty"):
        return
    fallback = (LoraFormatError, "NOT_SAFETENSORS", "Give a .safetensors file.")
    if kind.endswith("archive"):
        fallback = _REFUSALS["zip archive"]
    error, code, advice = _REFUSALS.get(kind, fallback)
    raise error(
        code, f"{Path(path).name!r} is {kind}, not safetensors; it was not opened. {advice}"
    )


def _sniff_head(head: bytes) -> str:
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "tar archive"
    if head.lstrip().lower().startswith(_HTML_STARTS):
        return "html"
    if head[0] == 0x80 and len(head) > 1 and head[1] in range(2, 6) and head[8:9] != b"{":
        return "pickle"
    return "safetensors" if head[8:9] == b"{" else "unknown"


def _sniff_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:_MAX_ZIP_ENTRIES]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return "zip archive"
    if any("/code/" in f"/{name}" or name.endswith("constants.pkl") for name in names):
        return "torchscript"
    return "pytorch zip" if any(name.endswith(".pkl") for name in names) else "zip archive"
