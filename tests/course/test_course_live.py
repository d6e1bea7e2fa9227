from __future__ import annotations

import dataclasses
import os
import signal
import threading

import ipywidgets
import numpy as np
import pytest
import torch
from helpers import ROOT, tiny_bundled_model, widget_of, write_text

from longlora_edu.course.notebook.environment import Profile
from longlora_edu.course.play import live, train_panel
from longlora_edu.course.play.live import ExtendResult, extend_live, live_settings
from longlora_edu.course.play.living import living_model
from longlora_edu.course.play.train_panel import Training, replay
from longlora_edu.demo.run import DemoSettings
from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.lora.layers import lora_layers
from longlora_edu.model import save_tiny_llama
from longlora_edu.training.corpus import Windows, read_corpus
from longlora_edu.training.finetune import FinetuneSettings, finetune
from longlora_edu.widgets import Picture
from longlora_edu.widgets.display import still_alone


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Four small steps of a tiny model on a short text."""
    monkeypatch.setattr(live, "bundled_model", tiny_bundled_model)
    text = write_text(tmp_path / "text.py")
    return DemoSettings(context=512, steps=4, batch=1, windows=2, trials=1, references=2, corpus=str(text))


def losses(result):
    return [point["loss"] for point in result.curve]


# The plain function.


def test_a_live_run_measures_trains_merges_and_measures_again(settings):
    seen = []
    result = extend_live(settings, on_step=lambda step, metrics: seen.append((step, metrics["loss"])))
    assert seen == list(enumerate(losses(result)))
    assert len(seen) == 4
    assert not result.stopped
    assert set(result.before["bits_per_byte"]) == set(result.after["bits_per_byte"]) == {256, 512}
    assert result.before["bits_per_byte"] != result.after["bits_per_byte"]
    assert result.report.target_context == result.model.config.context_length == 512
    assert not lora_layers(result.model)
    assert not result.model.training
    assert result.seconds > result.curve[-1]["seconds"] > 0
    assert result.tokens_per_second == pytest.approx(4 * 512 / result.curve[-1]["seconds"])


def test_the_model_just_extended_comes_alive_in_a_cell(settings, tmp_path, monkeypatch):
    pytest.importorskip("anywidget")
    save_tiny_llama(tiny_bundled_model(), tmp_path / "base")
    monkeypatch.setattr("longlora_edu.model.folder.bundled_folder", lambda: tmp_path / "base")
    result = extend_live(settings)
    desk = living_model(result, attention="s2")
    header = desk.packed.header
    assert (header["context"], header["group"]) == (512, result.report.pattern.group_size)
    ids = torch.from_numpy(np.frombuffer(desk.samples[0]["text"][:300].encode(), np.uint8).copy()).long()[None]
    with torch.no_grad():
        own, packed = result.model(ids), desk.packed.model("after").eval()(ids)
    assert (own.argmax(-1) == packed.argmax(-1)).float().mean() > 0.97, "eight bits a weight"

    with pytest.raises(ValueError, match="result must have adapters, got a model whose weights were all trained"):
        living_model(dataclasses.replace(result, adapter=None))


def test_without_a_result_the_demo_s_model_comes_alive_where_its_page_is(tmp_path, monkeypatch, capsys):
    pytest.importorskip("anywidget")
    monkeypatch.chdir(tmp_path)  # as where lessons are built
    assert living_model(variant="stretched").packed.header["context"] == 2048
    monkeypatch.setattr("longlora_edu.course.play.living.CHECKOUT", tmp_path)
    monkeypatch.chdir(ROOT / "notebooks")
    assert living_model().packed.header["context"] == 2048
    monkeypatch.chdir(tmp_path)
    assert living_model() is None
    assert "The small model lives in docs/model.html of the repository" in capsys.readouterr().out


def test_a_live_run_is_the_same_again(settings):
    first, again = extend_live(settings), extend_live(settings)
    assert losses(first) == losses(again)
    assert first.after["bits_per_byte"] == again.after["bits_per_byte"]


def test_a_stopped_run_keeps_its_steps_and_is_whole(settings):
    seen = []
    result = extend_live(settings, on_step=lambda step, metrics: seen.append(step), stop=lambda: len(seen) == 2)
    assert result.stopped
    assert losses(result) == losses(extend_live(settings))[:2]
    assert set(result.after["bits_per_byte"]) == {256, 512}


def test_a_run_stopped_before_its_first_step_has_no_curve(settings):
    result = extend_live(settings, stop=lambda: True)
    assert result.curve == ()
    assert result.tokens_per_second == 0


def test_a_stopped_run_goes_on_from_its_checkpoint_as_if_it_had_not_been_stopped(settings, tmp_path):
    seen, file = [], tmp_path / "steps.safetensors"
    extend_live(settings, on_step=lambda step, metrics: seen.append(step), stop=lambda: len(seen) == 3, checkpoint=file)
    resumed = extend_live(settings, on_step=lambda step, metrics: seen.append(step), checkpoint=file)
    assert seen == [0, 1, 2, 3]
    assert losses(resumed) == losses(extend_live(settings))


def test_an_interrupt_ends_training_after_the_step_and_loses_nothing(settings):
    before = signal.getsignal(signal.SIGINT)
    result = extend_live(settings, on_step=lambda step, metrics: step == 1 and os.kill(os.getpid(), signal.SIGINT))
    assert len(result.curve) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_target_that_cannot_be_reached_is_refused_before_training(settings):
    with pytest.raises(ValueError, match="must hold a document of at least 65537 bytes"):
        extend_live(dataclasses.replace(settings, context=65536))


@pytest.mark.parametrize(("name", "factor"), [("laptop", 4), ("gpu", 4), ("binder", 2), ("ci", 2)])
def test_each_profile_has_a_budget(name, factor):
    assert live_settings(Profile(name)).context == factor * 512


def test_a_profile_stands_for_its_settings(settings, monkeypatch):
    monkeypatch.setattr(live, "live_settings", lambda profile: {"ci": settings}[profile.name])
    assert extend_live(Profile("ci")).settings == settings


def test_stop_is_asked_by_finetune_before_each_step(tmp_path):
    model, text = tiny_bundled_model(), read_corpus(write_text(tmp_path / "text.py"))
    apply_longlora(model, LongLoRAConfig(512))
    asked = iter([False, False, True])
    windows = Windows(text.train, 513)
    result = finetune(model, windows, FinetuneSettings(steps=9, batch=1), stop=lambda: next(asked))
    assert len(result.curve) == 2
    assert not model.training


# The panel with the button.


def small_run(settings, *, on_step, stop, progress):
    """What `extend_live` does to its listeners, without a model."""
    curve = []
    with progress.stage("Before: dense", 10, "B") as advance:
        advance(10)
    with progress.stage("Training", 4, "B") as advance:
        for step in range(4):
            if stop():
                break
            curve.append({"step": step + 1, "loss": 2.0 - step / 4, "bits_per_byte": 2.0, "seconds": 1.0 + step})
            advance(1, f"loss {curve[-1]['loss']:.3f}")
            on_step(step, curve[-1])
    return ExtendResult(settings, None, None, tuple(curve), {}, {}, {}, 5.0)


def test_the_button_runs_in_the_background_and_the_cell_takes_its_result(settings):
    training = Training(settings, extend=small_run)
    training.start.click()
    training.wait()
    result = training.result
    assert training.take() is result
    assert len(result.curve) == 4
    assert training.bar.description == "Done"
    assert "4 steps" in training.line.value
    assert (training.start.disabled, training.stop.disabled) == (False, True)
    assert 'alt="Bits over 4 steps' in training.picture.value


def test_the_cell_trains_itself_when_nobody_pressed_the_button(settings):
    training = Training(settings, extend=small_run)
    assert training.result is None
    assert len(training.take().curve) == 4


def test_making_and_showing_the_panel_starts_nothing(settings, published):
    training = Training(settings, extend=lambda *_, **__: pytest.fail("must not run"))
    training.show()
    assert training.result is None
    bundle, view = published
    assert widget_of(view) is training.panel
    assert 'alt="A recorded run.' in bundle["text/html"]
    assert "the demo's recorded run, and not yours" in bundle["text/html"]
    assert "Saved as it stood" not in bundle["text/html"]
    assert "not yours" in still_alone(bundle["text/html"])  # in the stored notebook too


def test_no_control_of_the_panel_but_the_button_starts_anything(settings):
    started = []
    training = Training(settings, extend=lambda *_, **__: started.append(1))
    stack, seen = [training.panel], []
    while stack:
        widget = stack.pop()
        stack += getattr(widget, "children", ())
        seen.append(widget)
    values = [widget for widget in seen if isinstance(widget, ipywidgets.FloatProgress)]
    values[0].value = 0.5
    training.press_stop()
    assert started == []
    assert {type(widget).__name__ for widget in seen} == {"VBox", "HBox", "Button", "FloatProgress", "HTML"}


def test_stop_ends_a_run_that_is_under_way_and_keeps_what_it_has(settings):
    first_step = threading.Event()

    def run(settings, *, on_step, stop, progress):
        def slow(step, metrics):
            on_step(step, metrics)
            first_step.set()
            assert stopped.wait(10)

        return small_run(settings, on_step=slow, stop=stop, progress=progress)

    stopped = threading.Event()
    training = Training(settings, extend=run)
    training.start.click()
    assert first_step.wait(10)
    assert (training.start.disabled, training.stop.disabled) == (True, False)
    training.start.click()  # a second run beside the first would disturb both
    training.stop.click()
    stopped.set()
    training.wait()
    assert len(training.result.curve) == 1
    assert "Stopped after 1 of 4 steps" in training.line.value


def test_a_run_that_was_stopped_can_be_started_again(settings):
    training = Training(settings, extend=small_run)
    training.press_stop()
    training.start.click()
    training.wait()
    assert len(training.result.curve) == 4


def test_what_a_run_raises_is_shown_and_raised_where_it_is_waited_for(settings):
    def broken(settings, **_):
        raise ValueError("text must be longer, got 3 bytes")

    training = Training(settings, extend=broken)
    training.start.click()
    with pytest.raises(ValueError, match="text must be longer, got 3 bytes"):
        training.wait()
    assert "ValueError: text must be longer, got 3 bytes" in training.line.value
    assert (training.start.disabled, training.stop.disabled) == (False, True)
    with pytest.raises(ValueError, match="text must be longer"):
        training.take()


def test_the_line_says_how_fast_and_how_long_still(settings):
    training = Training(settings, extend=small_run)
    training._curve = [{"loss": 0.5 * np.log(2)}]
    with training.stage("Training", 100, "B") as advance:
        advance(25, "loss 0.347")
        assert training.bar.value == 0.25
        assert "loss 0.50 bits" in training.line.value and "0.347" not in training.line.value
        assert "bytes a second" in training.line.value
        assert training.line.value.endswith("s left")


def test_a_stop_while_it_is_measured_says_so_and_keeps_the_time_left(settings):
    training = Training(settings, extend=small_run)
    alive = threading.Event()
    training._thread = threading.Thread(target=alive.wait, daemon=True)
    training._thread.start()
    with training.stage("Training", 1, "B") as advance:
        advance(1)
    with training.stage("After training: dense attention", 100, "B") as advance:
        assert training.line.value == "Measuring: after training"
        assert training.bar.description == "Measuring"  # a longer one is cut
        training.press_stop()
        advance(25)
        assert "no step is left to stop" in training.line.value
        assert training.line.value.endswith("s left")
    alive.set()


@pytest.mark.parametrize("while_measured", [True, False])
def test_a_stop_before_the_first_step_keeps_nothing_and_says_so(settings, while_measured):
    measured, pressed = threading.Event(), threading.Event()

    def run(settings, *, on_step, stop, progress):
        with progress.stage("The base as it is: x", 10, "B") as advance:
            measured.set()
            assert pressed.wait(10)
            if while_measured:
                advance(1)
                pytest.fail("a stopped measurement must end")
        return ExtendResult(settings, None, None, (), {}, {}, {}, 5.0)

    training = Training(settings, extend=small_run)
    kept = training.take()  # a run before
    training._extend = run
    training.start.click()
    assert measured.wait(10)
    assert training.picture.value == ""  # not the curve of the run before
    training.stop.click()
    pressed.set()
    training.wait()
    assert training.bar.description == "Stopped" and "nothing was trained" in training.line.value
    assert training.result is kept
    assert (training.start.disabled, training.stop.disabled) == (False, True)


def test_a_cell_whose_run_is_stopped_before_its_first_step_says_so(settings):
    def run(settings, *, on_step, stop, progress):
        training.press_stop()
        return small_run(settings, on_step=on_step, stop=stop, progress=progress)

    training = Training(settings, extend=run)
    with pytest.raises(ValueError, match="must take a step, got a stop before the first one") as caught:
        training.take()
    assert caught.value._render_traceback_() == [str(caught.value)]


def test_each_stage_has_its_name_in_the_line(settings):
    training = Training(settings, extend=small_run)
    for name, said in (("The base as it is: x", "Measuring: the base as it is"), ("Training", "Training")):
        with training.stage(name, 10, "B") as advance:
            advance(5)
            assert training.line.value.startswith(said)


def test_the_panel_of_a_cell_that_is_run_again_keeps_its_run(settings, capsys):
    panel = train_panel.training(settings)
    panel._extend = small_run
    result = panel.take()
    assert "Nobody has pressed Start" in capsys.readouterr().out
    again = train_panel.training(settings)
    assert again is panel
    assert again.take() is result
    assert capsys.readouterr().out == ""
    train_panel._panels.clear()


def test_the_button_and_a_call_give_the_same_run(settings):
    training = Training(settings)
    training.start.click()
    training.wait()
    threads = torch.get_num_threads()
    assert losses(training.result) == losses(extend_live(settings))
    assert torch.get_num_threads() == threads


# The replay.

CURVE = [{"step": step, "loss": 2.0 / step, "bits_per_byte": 3.0 / step} for step in range(1, 9)]


@pytest.mark.parametrize("step", [1, 4, 8])
def test_the_replay_shows_the_run_up_to_its_step(step):
    panel = replay(CURVE)
    panel.controls["step"].value = 2
    panel.controls["step"].value = step
    assert f"Bits over {step} steps" in panel.area.box.value


def test_the_replay_stays_on_the_axes_of_the_whole_run(monkeypatch):
    limits = []
    monkeypatch.setattr(
        "longlora_edu.course.play.train_panel.Picture",
        lambda ax, alt, dpi: limits.append((ax.get_xlim(), ax.get_ylim())) or Picture(ax, alt, dpi=dpi),
    )
    replay(CURVE).drive()
    assert len(limits) >= 3
    assert len(set(limits)) == 1


def test_the_replay_leaves_its_whole_curve_where_nothing_is_live(published):
    replay(CURVE).show()
    assert "Bits over 8 steps" in published[0]["text/plain"]


def test_a_replay_of_nothing_is_refused():
    with pytest.raises(ValueError, match="curve must hold at least one step, got none"):
        replay([])
