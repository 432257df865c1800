"""The authors' released scoring functions, run on one tiny model of our own.

    AUTHORS_PATH=FOLDER python tests/reference/author_code.py

writes author_scores.json. FOLDER holds clones named SecMI, SecMI-LDM, PIA, MIA-Gen and SimA.
Nothing of theirs is copied here: CUDA calls, missing packages and random noise are replaced while
their functions run.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from diffusers import DDPMScheduler
from lora_forensics.core.membership.signals.queries import draws_of, grid_of
from lora_forensics.core.membership.signals.subjects import Subjects
from lora_forensics.core.sampling.plans import training_sigmas
from lora_forensics.core.specs import SignalSpec
from lora_forensics.core.types import BASE, TUNED, Conditioning, ModelHashes
from PIL import Image
from torch.nn import functional as F

KEPT = Path(__file__).with_name("author_scores.json")
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
SPEC = SignalSpec()
SIDE = 64
REPOSITORIES = {
    "SecMI": "jinhaoduan/SecMI",
    "SecMI-LDM": "jinhaoduan/SecMI-LDM",
    "PIA": "kong13661/PIA",
    "MIA-Gen": "wjfu99/MIA-Gen",
    "SimA": "mx-ethan-rao/SimA",
}


def _wave(*shape, step, scale=1.0):
    count = torch.tensor(shape).prod().item()
    return scale * torch.sin(step * torch.arange(1, count + 1).double() ** 1.1).view(shape)


class TinyNet:
    """A fixed small function of (input, timestep), different at each strength.

    It sees single places and, more strongly, blurred ones, so that a crop changes its error.
    """

    first, second = _wave(6, 3, step=0.7, scale=0.6), _wave(3, 6, step=1.3, scale=0.5)
    change = _wave(3, 6, step=2.1, scale=0.1)

    def __init__(self, strength):
        self.last = self.second + strength * self.change

    def __call__(self, x, t):
        x, t = x.double(), torch.as_tensor(t).double().flatten().expand(len(x))
        phase = (torch.arange(6).double() + 1) * t[:, None] / 400
        blurred = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8)
        mixed = torch.einsum("oc,nchw->nohw", self.first, x + 4 * blurred)
        hidden = torch.tanh(mixed + phase.sin()[..., None, None])
        out = torch.einsum("co,nohw->nchw", self.last, hidden)
        return (out + 0.5 * x) * (0.5 + t / 1500).view(-1, 1, 1, 1)


class TinyPair:
    """The same network behind the ModelPair protocol; pixels are latents."""

    latent_shape, resolution, prediction, family = (3, SIDE, SIDE), SIDE, "epsilon", "tiny"
    sigmas = training_sigmas((1 - BETAS).cumprod(0))
    hashes, scalable = ModelHashes("base", "tuned"), True

    def __call__(self, x, sigma, cond):
        t = torch.searchsorted(self.sigmas, sigma.double() * (1 - 1e-5))
        root = (1 + sigma.double() ** 2).sqrt().view(-1, 1, 1, 1)
        out = torch.empty_like(x)
        for strength in cond.strength.unique().tolist():
            keep = cond.strength == strength
            eps = TinyNet(strength)((x.double() / root)[keep], t[keep])
            out[keep] = (x[keep] - sigma[keep].view(-1, 1, 1, 1) * eps).to(x)
        return out

    def condition(self, prompts, strengths):
        return Conditioning(torch.zeros(len(prompts), 1, 1), torch.tensor(list(strengths)))

    def encode(self, pixels):
        return pixels * 2 - 1


def pictures(count=3):
    """Coloured waves, stronger in the middle, as PIL images; the same on every machine."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    envelope = np.exp(-6 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))[..., None]
    images = []
    for i in range(count):
        planes = [np.sin((i + 2) * 3 * x + c) * np.cos((c + 1) * 5 * y + i) for c in range(3)]
        images.append(Image.fromarray(np.uint8(127.5 + 120 * envelope * np.stack(planes, -1))))
    return images


def subjects():
    array = np.stack([np.asarray(p) for p in pictures()])
    pixels = torch.from_numpy(array).permute(0, 3, 1, 2).double() / 255
    return Subjects(pixels, pixels * 2 - 1, ("",) * len(pixels))


FUNCTIONS = {
    "SecMI": ["mia_evals/secmia.py: get_intermediate_results, naive_statistic_attack"],
    "SecMI-LDM": ["src/diffusers/schedulers/scheduling_ddim.py: DDIMScheduler.reverse, .step"],
    "PIA": ["DDPM/components.py: PIA, PIAN, SecMIAttacker"],
    "MIA-Gen": ["attack/attack_model_PFAMI.py: AttackModel.eval_perturb, .feat_prepare"],
    "SimA": ["DDPM/components.py: SimA"],
}


def author_scores(folder):
    """Scores ``[2, N]`` (base, tuned) of the authors' functions on our tiny model."""
    components = load(folder / "PIA" / "DDPM" / "components.py", "author_pia")
    sima = load(folder / "SimA" / "DDPM" / "components.py", "author_sima")
    x = subjects().pixels

    def attacks(module, name, interval, times):
        def getter(model):
            return lambda xt, condition=None, noise_level=None, t=None: model(xt, t)

        made = [
            getattr(module, name)(BETAS, interval, times, getter(TinyNet(s)), lambda v: v * 2 - 1)
            for s in (BASE, TUNED)
        ]
        return torch.stack([attack(x) for attack in made], 1)

    pia = attacks(components, "PIA", 100, 2)
    found = {
        "secmi": secmi(folder / "SecMI"),
        "secmi_ldm": secmi_ldm(folder / "SecMI-LDM"),
        "pia_100": pia[0],
        "pia_200": pia[1],
        "pian_200": attacks(components, "PIAN", 200, 1)[0],
        "pia_repository_secmi": attacks(components, "SecMIAttacker", 10, 10)[9],
        "sima_100": attacks(sima, "SimA", 100, 1)[1],
        **pfami(folder / "MIA-Gen"),
    }
    return {name: torch.as_tensor(v).double().numpy().tolist() for name, v in found.items()}


def load(path, name, **stubs):
    """A file of theirs as a module, with stand-ins for packages that are not here."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, stubs):
        spec.loader.exec_module(module)
    return module


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    return module


def on_cpu():
    """Their tensors stay on the CPU, whatever device they name."""
    real = torch.Tensor.to

    def to(self, *args, **more):
        return real(self, *["cpu" if a == "cuda" else a for a in args], **more)

    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(torch.Tensor, "cuda", lambda self, *a, **k: self))
    stack.enter_context(mock.patch.object(torch.Tensor, "to", to))
    return stack


def secmi(root):
    names = ("dataset_utils", "absl", "model", "resnet")
    stubs = {n: stub(n, load_member_data=None, flags=None, UNet=None) for n in names}
    module = load(root / "mia_evals" / "secmia.py", "author_secmi", **stubs)
    flags = types.SimpleNamespace(beta_1=1e-4, beta_T=0.02, T=1000)
    rows = []
    with on_cpu():
        for strength in (BASE, TUNED):
            got = module.get_intermediate_results(
                TinyNet(strength), flags, [(subjects().pixels,)], 100, 10
            )
            states = {
                f"{kind}_{theirs}": got[f"internal_{ours}"]
                for kind in ("member", "nonmember")
                for theirs, ours in (("diffusions", "diffusions"), ("internal_samples", "denoise"))
            }
            rows.append(module.naive_statistic_attack(states)[0])
    return torch.stack(rows)


def secmi_ldm(root):
    """Their inversion and denoising steps, in the order and at the index of their pipeline."""
    parts = {
        "secmi_ldm": stub("secmi_ldm", __path__=[]),
        "secmi_ldm.schedulers": stub("secmi_ldm.schedulers", __path__=[]),
        "secmi_ldm.configuration_utils": stub(
            "configuration_utils", ConfigMixin=type("C", (), {}), register_to_config=lambda f: f
        ),
        "secmi_ldm.utils": stub(
            "utils",
            _COMPATIBLE_STABLE_DIFFUSION_SCHEDULERS=[],
            BaseOutput=types.SimpleNamespace,
            deprecate=None,
        ),
        "secmi_ldm.schedulers.scheduling_utils": stub(
            "scheduling_utils", SchedulerMixin=type("S", (), {})
        ),
    }
    path = root / "src" / "diffusers" / "schedulers" / "scheduling_ddim.py"
    name = "secmi_ldm.schedulers.scheduling_ddim"
    with mock.patch.dict(sys.modules, {name: stub(name)}):
        module = load(path, name, **parts)
    scheduler = object.__new__(module.DDIMScheduler)
    scheduler.alphas_cumprod = (1 - BETAS).cumprod(0)
    scheduler.final_alpha_cumprod, scheduler.num_inference_steps = torch.tensor(1.0), 50
    scheduler.config = types.SimpleNamespace(prediction_type="epsilon", clip_sample=False)
    times, rows = list(range(0, 200, 10)), []
    for strength in (BASE, TUNED):
        net, states = TinyNet(strength), [subjects().latents]
        for now, after in pairwise(times):
            move = scheduler.reverse(
                net(states[-1], now), now, after, states[-1], return_dict=False
            )
            states.append(move[0])
        back = [
            scheduler.step(net(x, t), t, before, x, return_dict=False)[0]
            for x, t, before in zip(states[::-1], times[::-1], times[-2::-1], strict=False)
        ]
        rows.append((back[-15] - states[14]).square().flatten(1).sum(1))
    return torch.stack(rows)


class Pictures:
    """What their code asks of a data set."""

    def __init__(self):
        self.transform = None

    def set_transform(self, transform):
        self.transform = transform

    def __len__(self):
        return len(pictures())

    def __getitem__(self, i):
        return {"input": self.transform({"image": [pictures()[i]]})["input"][0].double()}


def pfami(root):
    """Relative rises and the statistic; their fresh noise is replaced by ours, in their order."""
    utils = load(root / "attack" / "utils.py", "author_mia_utils")
    stubs = {
        "attack": stub("attack", utils=utils, __path__=[]),
        "attack.utils": utils,
        "attack.resnet": stub("attack.resnet", ResNet18=None),
        "datasets": stub("datasets", Image=None, Dataset=None),
        "seaborn": stub("seaborn"),
    }
    module = load(root / "attack" / "attack_model_PFAMI.py", "author_pfami", **stubs)
    noise = draws_of(grid_of(SPEC, SPEC.pfami_timesteps, 1), (3, SIDE, SIDE))[:, 0].double()
    calls = iter(range(10**6))

    def randn(shape, **_):
        return noise[next(calls) % len(noise)].expand(shape)

    def loader(dataset, batch_size, shuffle, **_):
        return torch.utils.data.DataLoader(dataset, batch_size, shuffle)

    class Unet:
        def __init__(self, strength):
            self.net = TinyNet(strength)

        def eval(self):
            return self

        def __call__(self, x, t):
            return types.SimpleNamespace(sample=self.net(x, t))

    def pipeline(strength):
        scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
        return types.SimpleNamespace(unet=Unet(strength), scheduler=scheduler)

    cfg = {
        "target_model": "diffusion", "attack_kind": "stat", "loss_kind": "ddpm",
        "calibration": True, "eval_batch_size": len(pictures()), "diffusion_sample_number": 10,
        "diffusion_sample_steps": list(SPEC.pfami_timesteps), "perturbation_number": 10,
        "start_strength": 0.95, "end_strength": 0.7,
    }  # fmt: skip
    attack = module.AttackModel(pipeline(TUNED), None, pipeline(BASE), None, cfg)
    patches = (
        mock.patch.object(torch, "randn", randn),
        mock.patch.object(module, "DataLoader", loader),
        mock.patch.object(module, "tqdm", lambda rows: rows),
        mock.patch.object(np, "int", int, create=True),
    )
    with contextlib.ExitStack() as stack, torch.no_grad(), on_cpu():
        for patch in patches:
            stack.enter_context(patch)
        tuned, base = attack.eval_perturb(attack.target_model, Pictures(), cfg)
        both = utils.Dict(
            mem_feat=tuned, nonmem_feat=tuned, ref_mem_feat=base, ref_nonmem_feat=base
        )
        calibrated = attack.feat_prepare(both, cfg)[0]
        plain = attack.feat_prepare(both, cfg | {"calibration": False})[0]
    n = len(pictures())
    base_rise = base.ref_var_losses[:, :, 5] / base.ref_ori_losses
    losses = [base.ref_per_losses, tuned.per_losses]
    return {
        "pfami_losses": np.stack(losses).reshape(2, -1),
        "pfami_stat": np.stack([base_rise.mean(-1), plain[:n]]),
        "pfami_calibrated_stat": calibrated[None, :n],
    }


def commit_of(root):
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(folder):
    code = {
        name: {
            "repository": repository,
            "commit": commit_of(folder / name),
            "functions": FUNCTIONS[name],
        }
        for name, repository in REPOSITORIES.items()
    }
    facts = {
        "command": "AUTHORS_PATH=FOLDER python tests/reference/author_code.py",
        "model": "TinyNet of that file, rows base and tuned; SecMI-LDM at timestep 140, stride 10",
        "code": code,
        "scores": author_scores(folder),
    }
    KEPT.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    write(Path(os.environ["AUTHORS_PATH"]))
