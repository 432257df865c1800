"""The figure of the attack's training."""

import base64
import io

import numpy as np
from lora_forensics.core.report import training_plot
from PIL import Image

EPOCHS = [[0.7, 0.5, 0.3], [0.8, 0.6, 0.2]]
HELDOUT = [([1.0, 2.0, 0.5], [-1.0, 0.7]), ([3.0], [1.0, 2.0])]


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data), formats=["PNG"])


def test_png_has_the_size_it_promises_and_shows_something() -> None:
    assert opened(training_plot.attack_training_png(EPOCHS, HELDOUT)).size == (1140, 430)
    picture = opened(training_plot.attack_training_png(EPOCHS, HELDOUT, dpi=50))
    assert picture.size == (570, 215)
    assert np.asarray(picture.convert("L")).std() > 5


def test_svg_is_a_repeatable_data_uri() -> None:
    made = [training_plot.attack_training(EPOCHS, HELDOUT) for _ in range(2)]
    assert made[0] is not None
    assert made[0] == made[1]
    kind, data = made[0].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert b"<svg" in base64.b64decode(data)


def test_every_seed_and_its_roc_are_drawn() -> None:
    draw = training_plot._training(EPOCHS, HELDOUT)
    assert draw is not None
    figure = training_plot.Figure()
    draw(figure)
    left, right = figure.axes
    assert [line.get_ydata().tolist() for line in left.lines[:2]] == EPOCHS
    assert np.allclose(left.lines[2].get_ydata(), np.mean(EPOCHS, axis=0))
    said = [t.get_text() for t in right.get_legend().get_texts()]
    assert said == ["chance", "2 seeds, mean AUC 0.92"]  # 5/6 and 1


def test_little_or_nothing() -> None:
    assert training_plot.attack_training([], []) is None
    assert training_plot.attack_training_png([[]], [([], [])]) is None
    assert training_plot.attack_training_png([[None]], HELDOUT) is None
    assert opened(training_plot.attack_training_png([[0.7]], [([1.0], [])], dpi=20)).size == (
        228,
        86,
    )
    assert training_plot.attack_training([[0.7, None], [0.6]], HELDOUT[:1])
