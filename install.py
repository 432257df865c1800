"""Checks whether the pack can run here and says what is missing. Installs and downloads nothing."""

import importlib.metadata
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
SSCD = (
    "SSCD, the copy descriptor for photographs, is optional: without it the small embedded one is "
    "used, whose thresholds hold for drawn faces only. Put sscd_disc_mixup.safetensors into "
    "ComfyUI's models/sscd; README.md says where it comes from."
)


def requirements() -> list[tuple[str, str]]:
    """Package and lowest version of each line of requirements.txt."""
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return re.findall(r"^([A-Za-z0-9_.-]+)>=([0-9.]+)$", "\n".join(lines), re.MULTILINE)


def numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparison."""
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0])[:3])


def problems() -> list[str]:
    """What is missing or too old, in words."""
    found = []
    for name, lowest in requirements():
        try:
            present = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} is missing; run: pip install -r requirements.txt")
            continue
        if numbers(present) < numbers(lowest):
            found.append(f"{name} {present} is older than {lowest}; update ComfyUI or {name}")
    return found


if __name__ == "__main__":
    for line in problems() or ["LoRA Forensics: all packages are there."]:
        print(line)
    print(SSCD)
