"""A suspect file that could not be analyzed ends in a report, never in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.casework.book import write_report
from ..core.casework.bundle import failed_case
from ..core.errors import LoraFormatError, UnsafeFileError
from ._host import output_folder, plain_name

NOT_THE_FILES = ("NO_CLIP",)  # codes that tell of the graph, not of the file


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Write the report of a file that cannot be analyzed, and say in the error where it lies.

    Raises:
        LoraFormatError, UnsafeFileError: as they came.
    """
    try:
        yield
    except (LoraFormatError, UnsafeFileError) as error:
        if error.code in NOT_THE_FILES:
            raise
        case = failed_case(error, command="ComfyUI", models={"tuned": path.name})
        root = output_folder("reports", f"{plain_name(path.stem)}-{case.case_id}")
        write_report(root, case)
        message = str(error).removeprefix(f"ERROR/{error.code}: ")
        shown = f"output/lora_forensics/reports/{root.name}/report.html"
        raise type(error)(error.code, f"{message} (report: {shown})") from error
