"""Exact resume: all that a training needs to go on as if it had never stopped, in one file that is replaced atomically.

The order of the data is a function of (seed, epoch) and the learning rate one of the step, so what must be kept are the
weights, AdamW's moments, the best weights so far, and torch's random state (for dropout).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from xstilts.engine import artifact
from xstilts.engine.record import Progress
from xstilts.errors import XstiltsError, fail

FILE = "checkpoint.safetensors"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW, per parameter


@dataclass
class State:
    """Everything that changes while a model trains.

    Attributes:
        key: of the step; a checkpoint of another step is refused.
        trained: parameter name → parameter.
        optimizer: AdamW over them.
        best: parameter name → weights of the best evaluation, on the CPU.
        progress: numbers.
    """

    key: str
    trained: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    progress: Progress

    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                if name not in self.best:
                    self.best[name] = torch.empty_like(parameter, device="cpu")
                self.best[name].copy_(parameter)

    def take_best(self) -> None:
        """Set the weights to the remembered ones."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(self.best[name])

    def save(self, directory: Path) -> None:
        """Write the checkpoint."""
        directory.mkdir(exist_ok=True)
        tensors = {f"rng.{name}": state for name, state in _random_states(self._device).items()}
        for name, parameter in self.trained.items():
            tensors[f"now.{name}"] = parameter
            tensors[f"best.{name}"] = self.best[name]
            moments = self.optimizer.state.get(parameter) or _no_moments(parameter)
            tensors |= {f"{moment}.{name}": moments[moment] for moment in MOMENTS}
        progress = json.dumps(dataclasses.asdict(self.progress))
        artifact.save(directory / FILE, tensors, {**self._about, "progress": progress})

    def restore(self, directory: Path) -> bool:
        """Go on from the checkpoint, if there is one; return whether there is.

        Tensors are read one by one into where they belong, so that nothing is held twice. ``keep_best`` was called.

        Raises:
            XstiltsError: it is damaged or belongs to another step.
        """
        path = directory / FILE
        if not path.is_file():
            return False
        moments = {name: _no_moments(parameter) for name, parameter in self.trained.items()}
        random: dict[str, Tensor] = {}
        try:
            with torch.no_grad():
                for title, tensor in artifact.stream(path, self._expected(), self._about):
                    part, _, name = title.partition(".")
                    if part == "rng":
                        random[name] = tensor.clone()
                    else:
                        self._place(part, name, moments).copy_(tensor)
        except XstiltsError as error:
            raise fail(str(directory), f"cannot be resumed from; delete it to start over ({error})") from error
        for name, parameter in self.trained.items():
            self.optimizer.state[parameter] = moments[name]
        self.progress = Progress(**json.loads(artifact.facts(path)["progress"]))
        torch.set_rng_state(random["cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], self._device)
        return True

    def _place(self, part: str, name: str, moments: dict[str, dict[str, Tensor]]) -> Tensor:
        """Where a tensor of the checkpoint belongs."""
        if part == "now":
            return self.trained[name]
        return self.best[name] if part == "best" else moments[name][part]

    @property
    def _about(self) -> dict[str, str]:
        return {"part": "checkpoint", "step": self.key}

    @property
    def _device(self) -> torch.device:
        return next(iter(self.trained.values())).device

    def _expected(self) -> dict[str, Tensor]:
        expected = {f"rng.{name}": state for name, state in _random_states(self._device).items()}
        for name, parameter in self.trained.items():
            expected |= {f"{part}.{name}": parameter for part in ("now", "best", *MOMENTS[1:])}
            expected[f"step.{name}"] = torch.zeros(())
        return expected


def _no_moments(parameter: Tensor) -> dict[str, Tensor]:
    """What AdamW remembers of a parameter without a step: of a mixture's head whose turn has not come."""
    zeros = {moment: torch.zeros_like(parameter) for moment in MOMENTS[1:]}
    return {"step": torch.zeros((), device=parameter.device), **zeros}


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states
