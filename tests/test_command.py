"""How commands end."""

import pytest

from xstilts.command import finish
from xstilts.errors import fail


def interrupt():
    raise KeyboardInterrupt


def refuse():
    raise fail("file \x1b[2J\x07.bin", "is wrong\u202e", "ü 中 | <b>")


@pytest.mark.parametrize(
    ("work", "code", "told"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (refuse, 2, "error: file \ufffd[2J\ufffd.bin: is wrong\ufffd; given 'ü 中 | <b>'\n"),
        (interrupt, 130, "\nstopped\n"),
    ],
)
def test_exit_codes_and_messages(capsys, work, code, told):
    assert finish(work, "stopped") == code
    assert capsys.readouterr().err == told


def test_our_own_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        finish(lambda: 1 // 0)
