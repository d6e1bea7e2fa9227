from __future__ import annotations

import io
import re

import pytest

from longlora_edu.runs.progress import Silent, Terminal, step_by_step


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_where_there_is_no_terminal_plain_lines_say_how_far_how_fast_and_how_long(clock):
    stream = io.StringIO()
    with Terminal(stream, interval=10).stage("Training", 400, "B") as advance:
        for text in ("loss 3.000", "loss 2.500", "loss 2.000", "loss 1.500"):
            clock[0] += 8
            advance(100, text)
    assert stream.getvalue().splitlines() == [
        "Training ...",
        "   50%  loss 2.500  12 B/s  16 s left",
        "  100%  loss 1.500  12 B/s  0 s left",
    ]
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_stage_that_stops_early_says_nothing_false(clock):
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Terminal(stream, interval=1).stage("Training", 400, "B") as advance:
        clock[0] += 2
        advance(100)
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines() == ["Training ...", "   25%  50 B/s  6 s left"]


def test_a_terminal_shows_a_bar_with_the_latest_loss():
    stream = FakeTerminal()
    with Terminal(stream).stage("Training", 4000, "B") as advance:
        advance(1000, "loss 3.000")
        advance(3000, "loss 2.500")
    last = stream.getvalue().rstrip().split("\r")[-1]
    assert re.search(r"Training: 100%\|.*4\.00k/4\.00k \[.*B/s, loss 2\.500\]", last), last


def test_silence_is_silent(capfd):
    with Silent().stage("Training", 4, "B") as advance:
        advance(2, "loss 3")
    assert capfd.readouterr() == ("", "")


def test_steps_that_a_resumed_run_had_done_before_count_at_once():
    seen = []
    on_step = step_by_step(lambda amount, text="": seen.append((amount, text)), 50, "bits/byte", "bits_per_byte")
    for step in (6, 7, 8):
        on_step(step, {"bits_per_byte": step / 3})
    assert seen == [(350, "bits/byte 2.000"), (50, "bits/byte 2.333"), (50, "bits/byte 2.667")]
