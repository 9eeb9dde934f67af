import io

import pytest
from rich.console import Console

from xstilts.data import progress


@pytest.fixture
def screen(monkeypatch):
    """What a terminal would show; the bar appears at once."""
    shown = io.StringIO()
    terminal = {"file": shown, "force_terminal": True, "width": 80}
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(**terminal))
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    return shown


def test_a_bar_counts_what_passes(screen):
    items = list(range(5000))
    assert list(progress.watched(iter(items), "reading xnli, train", 5000)) == items
    assert "reading xnli, train" in screen.getvalue() and "4096/5000" in screen.getvalue()


def test_an_error_takes_the_bar_away(screen):
    def broken():
        yield 1
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(progress.watched(broken(), "reading", None))
    assert screen.getvalue().endswith("\x1b[2K")  # the line is erased


def test_short_work_shows_nothing(screen, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    assert list(progress.watched(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    assert "reading" not in screen.getvalue()


def test_nobody_watches(capfd, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    assert list(progress.watched(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")
