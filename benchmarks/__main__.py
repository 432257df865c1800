"""``python -m benchmarks [--write]``: all tables; ``--write`` keeps them in results.md."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def check_installed() -> None:
    """The tests' model factories become importable; the package itself must be installed.

    Raises:
        SystemExit: it is not.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    if importlib.util.find_spec("lora_forensics") is None:
        raise SystemExit(
            "lora_forensics is not installed in this Python. Run `make bench`, or install this "
            "checkout with: python -m pip install -e '.[dev]'"
        )


def table(title: str, head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"## {title}", "", *lines, ""])


def machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{platform.machine()}, {os.cpu_count()} CPU cores, {gpu}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, load {load:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results.md")
    write = parser.parse_args().write
    check_installed()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from . import attack, guider, localizing, sampling_plan, signals, two_models

    parts = [f"# Benchmarks\n\n{machine()}\n"]
    print(parts[0], flush=True)
    chosen = (
        two_models, sampling_plan, attack, signals, localizing,
        *([guider] if guider.possible() else []),
    )  # fmt: skip
    for part in chosen:
        parts.append(table(*part.run()))
        print(parts[-1], flush=True)
    if write:
        (ROOT / "benchmarks" / "results.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
