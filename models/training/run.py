"""The state of a training run, and its checkpoint."""

import argparse
import copy
import math
import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

import vit

WARM_UP = 0.03
"""Of the time, in which the learning rate rises."""
LAST_RATE = 0.02
"""Of the learning rate, at the end of the cosine."""
MAY_CHANGE = {"minutes", "threads", "workers", "compile", "device", "stop_after", "max_steps"}
"""What a run may go on with changed."""


class Run:
    """All that a checkpoint holds."""

    def __init__(self, arguments: argparse.Namespace, device: torch.device):
        torch.manual_seed(arguments.seed)
        self.arguments, self.device = arguments, device
        self.model = (
            vit.load(arguments.init)
            if arguments.init
            else vit.VisionTransformer(
                vit.Measures(arguments.patch, arguments.dim, arguments.dim // vit.HEAD_WIDTH, arguments.depth)
            )
        )
        self.model.to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not vit.is_unused(name, self.model.measures) and not self.is_frozen(name))
        self.optimizers = optimizers(self.model, arguments)
        self.step = self.views = 0
        self.seconds = 0.0

    def is_frozen(self, name: str) -> bool:
        block = int(name.split(".")[1]) if name.startswith("blocks.") else -1  # the embeddings come first
        return self.arguments.freeze > 0 and block < self.arguments.freeze

    def progress(self) -> float:
        """0 to 1."""
        return min(1.0, self.seconds / (60 * self.arguments.minutes))

    def set_rate(self) -> float:
        cosine = (1 + math.cos(math.pi * self.progress())) / 2
        rise = min(1.0, (self.progress() + 1e-3) / WARM_UP)
        rate = self.arguments.lr * rise * (LAST_RATE + (1 - LAST_RATE) * cosine)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return rate

    @torch.no_grad()
    def update_average(self) -> None:
        decay = min(self.arguments.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def save(self, path: Path) -> None:
        state = {
            "settings": settings(self.arguments),
            "measures": asdict(self.model.measures),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "views": self.views,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        now, then = settings(self.arguments), state["settings"]
        for name in now.keys() - MAY_CHANGE:
            if now[name] != then.get(name):
                raise SystemExit(
                    f"{path.parent} was begun with {name} {then.get(name)} (now {now[name]}): "
                    "give the same, or another folder"
                )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.views, self.seconds = state["step"], state["views"], state["seconds"]
        torch.set_rng_state(state["random"].cpu())
        if self.device.type == "cuda" and state["random_cuda"]:
            torch.cuda.set_rng_state_all([saved.cpu() for saved in state["random_cuda"]])


def settings(arguments: argparse.Namespace) -> dict:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}


def optimizers(model: nn.Module, arguments: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices if it is asked for, AdamW for the rest; no decay of biases, norms and positions."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [p for name, p in trained if p.ndim == 2 and name.startswith("blocks.")]
    by_muon = matrices if arguments.optimizer == "muon" else []
    rest = [(name, p) for name, p in trained if not any(p is other for other in by_muon)]
    decayed = [p for name, p in rest if p.ndim > 1 and name not in ("cls_token", "pos_embed")]
    kept = [p for name, p in rest if not any(p is other for other in decayed)]
    groups = [{"params": decayed, "weight_decay": arguments.decay}, {"params": kept, "weight_decay": 0.0}]
    made = [torch.optim.AdamW([group for group in groups if group["params"]], lr=arguments.lr, betas=(0.9, 0.98))]
    if by_muon:
        muon = torch.optim.Muon(by_muon, lr=arguments.lr, weight_decay=arguments.decay, adjust_lr_fn="match_rms_adamw")
        made.append(muon)
    return made
