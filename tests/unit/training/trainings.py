"""Photos and captions for the tests of training, and what every resumed training is."""

import torch
from interruptions import Interrupt
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.storage import Work, open_case

CAPTIONS = ["a face", "a face", "another face"]


def images(n=3, side=16):
    return [noise_of(i, (3, side, side)).sigmoid() for i in range(n)]


def assert_resumes_exactly(train, folder):
    """Seven steps, kept every two and interrupted twice, are those of an uninterrupted run.

    Args:
        train: takes work, or none.
        folder: of the case.
    """
    whole, begun_at = train(), []
    for after in (3, 2, 100):
        case, bar = open_case(folder, {}), Interrupt(after)
        try:
            trained = train(work=Work(case, bar))
        except KeyboardInterrupt:
            trained = None
        finally:
            case.close()
        begun_at.append(bar.done)
    assert begun_at == [0, 4, 6]
    assert trained.losses == whole.losses
    assert all(torch.equal(trained.weights[k], v) for k, v in whole.weights.items())
    assert [p.stem for p in folder.rglob("*.safetensors")] == ["result"]
