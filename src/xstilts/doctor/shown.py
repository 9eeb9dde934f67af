"""A diagnosis as people and machines read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xstilts.doctor.checks import Diagnosis

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "unsafe": "bold red", "refused": "bold red"}


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print a table of the checks, and the verdict in one line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(_printable(f"{diagnosis.source} on {diagnosis.backbone}")), title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what was found", ratio=3, overflow="fold")
    table.add_column("what it means", ratio=3, overflow="fold")
    for check in diagnosis.checks:  # as Text: what a file says must not be read as markup
        verdict = Text(check.verdict, style=COLOURS[check.verdict])
        table.add_row(Text(check.name), verdict, Text(_printable(check.found)), Text(_printable(check.means)))
    console.print(table)
    console.print(Text(_printable(diagnosis.sentence), style=COLOURS[diagnosis.verdict]), soft_wrap=True)


def plain(diagnosis: Diagnosis) -> dict[str, Any]:
    """The same as values for JSON; ``module`` is None if it could not be read."""
    published = diagnosis.published
    module = published and {
        "layout": published.origin.layout,
        "kind": published.method.kind,
        "options": published.method.model_dump(mode="json")["options"],
        "layers": published.layers,
        "hidden_size": published.hidden,
        "parameters": sum(tensor.numel() for tensor in published.tensors.values()),
        "language": published.origin.language,
    }
    return {
        "source": diagnosis.source,
        "backbone": diagnosis.backbone,
        "verdict": diagnosis.verdict,
        "sentence": _printable(diagnosis.sentence),
        "module": module,
        "checks": [
            {
                "check": check.name,
                "verdict": check.verdict,
                "found": _printable(check.found),
                "means": _printable(check.means),
            }
            for check in diagnosis.checks
        ],
    }


def _printable(text: str) -> str:
    """Without characters that would move the cursor of a terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)
