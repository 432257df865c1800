"""Names of an Xception's weights as other projects write them, in the names used here (timm's).

Source: the key lists of FFD (Dang et al., CVPR 2020) and of the localization paper's code, read in
specification localization.md, section 2.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_RULES = (
    (r"^(module\.|net\.)+", ""),
    (r"^map\.c\.c\.", "map.c."),
    (r"^map\.c\.pointwise\.", "map.pointwise."),
    (r"(?<!map)\.c\.weight$", ".conv1.weight"),
    (r"\.skip_bn\.", ".skipbn."),
    (r"^last_linear\.", "fc."),
)


def own_name(name: str) -> str:
    """The name that a weight has here.

    Example:
        >>> own_name("module.block1.rep.0.c.weight"), own_name("map.c.c.weight")
        ('block1.rep.0.conv1.weight', 'map.c.weight')
    """
    for pattern, written in _RULES:
        name = re.sub(pattern, written, name)
    return name


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names used here; other names stay as they are."""
    return {own_name(k): v for k, v in tensors.items()}
