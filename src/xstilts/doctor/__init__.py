"""The doctor: may a published module be put on this backbone?

Libraries load what fits, keep random weights for what does not, and never compare what a module says of its backbone;
here everything that can be known before training is looked at, and what would silently give wrong numbers is refused.
Importing a module runs it always.
"""

from __future__ import annotations

from pathlib import Path

from xstilts import exchange
from xstilts.doctor import directory as files
from xstilts.doctor import origin, weights
from xstilts.doctor.checks import BARRED, VERDICTS, Check, Diagnosis, Verdict
from xstilts.errors import Problem, XstiltsError
from xstilts.published import Published, Remark
from xstilts.spec import Backbone

__all__ = ["BARRED", "VERDICTS", "Check", "Diagnosis", "Verdict", "admitted", "cleared", "diagnose", "examine"]

REFUSED = "nothing of it is used"
REMARKS = {
    "precision": "its numbers were rounded when it was saved; they are computed with in full precision",
    "backbone": "its fingerprint is that of the backbone it was imported for; examine what was imported, too",
    "below": "without the modules below it, it computes something else than what was measured",
}


def examine(source: str, backbone: Backbone) -> Diagnosis:
    """Look at a published module; a bad one gives a bad verdict, not an error.

    Args:
        source: a directory, or a hub id ``org/name`` with ``@revision``.
        backbone: that it is to be used with.
    """
    try:
        directory = exchange.locate(source)
    except XstiltsError as error:
        return Diagnosis(source, backbone.name, tuple(_refusals("source", error)), None)
    before = files.checks(directory)
    try:
        published = exchange.read(directory, trusted_links=not Path(source).is_dir())
    except XstiltsError as error:
        return Diagnosis(source, backbone.name, (*_refusals("reading", error), *before), None)
    except Exception as error:  # files from anywhere must not stop the one who looks at them
        told = Check("reading", "refused", f"the reader fails with {type(error).__name__}", REFUSED)
        return Diagnosis(source, backbone.name, (told, *before), None)
    return Diagnosis(source, backbone.name, (*diagnose(published, directory, backbone), *before), published)


def diagnose(published: Published, directory: Path, backbone: Backbone) -> tuple[Check, ...]:
    """Look at a module that could be read.

    Args:
        published: the module.
        directory: where it was read from.
        backbone: that it is to be used with.
    """
    own = (*origin.checks(published, directory, backbone), *weights.checks(published, backbone))
    remarked = [_remark(remark) for remark in published.remarks]
    spoken = {check.name for check in remarked}
    return (*(check for check in own if check.verdict != "ok" or check.name not in spoken), *remarked)


def admitted(source: str, backbone: Backbone) -> Published:
    """Read a published module that may be used.

    Raises:
        XstiltsError: everything that forbids it.
    """
    return cleared(examine(source, backbone))


def cleared(found: Diagnosis) -> Published:
    """The module of an examination, if it may be used.

    Raises:
        XstiltsError: everything that forbids it.
    """
    if found.published is None or found.barred:
        raise XstiltsError(*(Problem(f"{found.source}: {check.name}", _told(check)) for check in found.barred))
    return found.published


def _told(check: Check) -> str:
    return f"{check.found}: {check.means}" if check.means else check.found


def _refusals(name: str, error: XstiltsError) -> list[Check]:
    return [Check(name, "refused", str(problem), REFUSED) for problem in error.problems]


def _remark(remark: Remark) -> Check:
    means = REMARKS.get(
        remark.check, "mind it when you read the results" if remark.serious else "handled when it is read"
    )
    return Check(remark.check, "warning" if remark.serious else "note", remark.what, means)
