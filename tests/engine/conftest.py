"""What tests of killed trainings share."""

import itertools

import pytest
import torch

from xstilts.engine import loop


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


@pytest.fixture
def killed(monkeypatch):
    """``killed(train, call)`` runs a training that saves after every step and dies in its ``call``-th backward pass."""

    def kill_in(train, call):
        monkeypatch.setattr(loop, "SAVING_SHARE", float("inf"))
        real, calls = loop.Loop._backward, itertools.count(1)

        def kill(self, *batch):
            if next(calls) == call:
                raise Killed
            return real(self, *batch)

        with monkeypatch.context() as patch:
            patch.setattr(loop.Loop, "_backward", kill)
            with pytest.raises(Killed):
                train()
        torch.manual_seed(12345)  # whatever the process did in between

    return kill_in
