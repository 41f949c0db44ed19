"""Progress: lines in a log, a bar on a terminal, and every item once in both."""

import io
import logging
import sys

import pytest

from fcl.runs import log as module
from fcl.runs.log import log_to_standard_error, progress


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    assert list(progress("abcd", "reading", total=4)) == list("abcd")
    # The clock is read once at the start, once an item, and again for each line that is written.
    assert capsys.readouterr().err.splitlines() == ["reading: 2 of 4 after 60 s", "reading: 4 of 4 after 120 s"]


def test_a_quick_loop_says_nothing(capsys):
    assert list(progress(range(3), "reading")) == [0, 1, 2]
    log_to_standard_error()  # a second time
    for name in ("fcl", "fcl.training.fit"):
        logging.getLogger(name).info("done")
    logging.getLogger("fcl").warning("bad")
    logging.getLogger("other").info("not shown")
    assert capsys.readouterr().err == "done\ndone\nWARNING: bad\n"


@pytest.mark.parametrize("total", [None, 3])
def test_a_terminal_gets_a_bar(monkeypatch, total):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(iter("abc"), "reading", total=total)) == list("abc")
    assert "reading" in sys.stderr.getvalue()
