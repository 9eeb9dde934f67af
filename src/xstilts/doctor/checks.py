"""What an examination finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from xstilts.published import Published

Verdict = Literal["ok", "note", "warning", "unsafe", "refused"]  # from harmless to unusable
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
BARRED = ("unsafe", "refused")  # what forbids to use a module


@dataclass(frozen=True, slots=True)
class Check:
    """One line of an examination.

    Attributes:
        name: what was looked at.
        found: what is the case.
        means: what follows from it for a study.
    """

    name: str
    verdict: Verdict
    found: str
    means: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found about a module and a backbone.

    Attributes:
        source: as the user called it.
        backbone: name of the backbone it is to be used with.
        published: the module; None if it could not be read.
    """

    source: str
    backbone: str
    checks: tuple[Check, ...]
    published: Published | None

    @property
    def verdict(self) -> Verdict:
        """The worst of all checks."""
        return worst(self.checks)

    @property
    def barred(self) -> tuple[Check, ...]:
        """The checks that forbid to use it."""
        return tuple(check for check in self.checks if check.verdict in BARRED)

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        if self.barred:
            reasons = "; ".join(f"{check.name}: {check.found}" for check in self.barred)
            return f"{self.verdict}: cannot be used with {self.backbone} ({reasons})"
        warned = list(dict.fromkeys(check.name for check in self.checks if check.verdict == "warning"))
        minded = f"; mind: {', '.join(warned)}" if warned else ""
        return f"{self.verdict}: can be used with {self.backbone}{minded}"


def worst(checks: Iterable[Check]) -> Verdict:
    """The worst verdict of some checks; ``ok`` of none."""
    return max((check.verdict for check in checks), key=VERDICTS.index, default="ok")
