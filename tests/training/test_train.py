from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from longlora_edu.training import checkpoint as checkpoint_module
from longlora_edu.training.checkpoint import load_checkpoint, save_checkpoint
from longlora_edu.training.train import TrainSettings, train

OPTIMIZERS = {
    "adamw": lambda p: [torch.optim.AdamW(p.values(), lr=0.05, weight_decay=0.1)],
    "muon": lambda p: [
        torch.optim.Muon([p["matrix"]], lr=0.05, weight_decay=0.1),
        torch.optim.AdamW([p["offset"]], lr=0.05, betas=(0.9, 0.95)),
    ],
    "sgd": lambda p: [torch.optim.SGD(p.values(), lr=0.05)],
}
SETTINGS = {"steps": 8, "warmup": 2, "decay": "cosine", "checkpoint_every": 3}


class Toy:
    """Least squares on data drawn by (step, part): a matrix and an offset to be found, in float32."""

    def __init__(self, optimizer="adamw"):
        generator = torch.Generator().manual_seed(0)
        self.parameters = {
            "matrix": torch.nn.Parameter(torch.randn(4, 3, generator=generator)),
            "offset": torch.nn.Parameter(torch.randn(3, generator=generator)),
        }
        self.optimizers = OPTIMIZERS[optimizer](self.parameters)
        self.truth = torch.randn(4, 3, generator=generator)

    def objective(self, step, part):
        x = torch.from_numpy(np.random.default_rng([step, part]).standard_normal((6, 4))).float()
        error = x @ self.parameters["matrix"] + self.parameters["offset"] - x @ self.truth
        loss = error.square().mean()
        return loss, {"worst": error.abs().max().item()}

    def train(self, settings=None, **options):
        objective = options.pop("objective", self.objective)
        settings = settings or TrainSettings(**SETTINGS)
        return train(self.parameters, self.optimizers, objective, settings, **options)

    def weights(self):
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}


def assert_bitwise_equal(weights, expected):
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)


def without_seconds(curve):
    return [{name: value for name, value in point.items() if name != "seconds"} for point in curve]


def stop_after(steps):
    def on_step(step, metrics):
        if step + 1 == steps:
            raise InterruptedError

    return on_step


# The schedule.


def factors(**settings):
    settings = TrainSettings(**settings)
    return [settings.learning_rate_factor(step) for step in range(settings.steps)]


def test_a_constant_schedule_rises_over_the_warmup_and_stays():
    np.testing.assert_allclose(factors(steps=6, warmup=4), [0.25, 0.5, 0.75, 1, 1, 1])
    np.testing.assert_allclose(factors(steps=3), [1, 1, 1])


def test_a_linear_schedule_falls_to_zero_one_step_after_the_last():
    np.testing.assert_allclose(factors(steps=6, warmup=2, decay="linear"), [0.5, 1, 1, 0.75, 0.5, 0.25])


def test_a_cosine_schedule_falls_along_half_a_cosine():
    expected = [0.5, 1, *(0.5 + 0.5 * math.cos(math.pi * i / 6) for i in range(6))]
    np.testing.assert_allclose(factors(steps=8, warmup=2, decay="cosine"), expected)


@pytest.mark.parametrize("decay", ["constant", "linear", "cosine"])
def test_a_schedule_may_be_all_warmup(decay):
    np.testing.assert_allclose(factors(steps=4, warmup=4, decay=decay), [0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be an integer, at least 1, got 0"),
        ({"steps": 1, "accumulate": 0}, "accumulate must be an integer, at least 1, got 0"),
        ({"steps": 1, "clip": 0.0}, "clip must be positive and finite, got 0.0"),
        ({"steps": 1, "clip": math.nan}, "clip must be positive and finite, got nan"),
        ({"steps": 1, "checkpoint_every": -1}, "checkpoint_every must be an integer, at least 1, got -1"),
        ({"steps": 3, "warmup": 4}, "warmup must be from 0 to steps = 3, got 4"),
        ({"steps": 3, "warmup": -1}, "warmup must be from 0 to steps = 3, got -1"),
        ({"steps": 3, "decay": "step"}, "decay must be one of constant, linear, cosine, got 'step'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**settings)


# One step.


def test_a_step_follows_the_clipped_gradient_at_the_scheduled_rate():
    toy = Toy("sgd")
    before = toy.weights()
    loss, _ = toy.objective(0, 0)
    gradients = dict(zip(before, torch.autograd.grad(loss, list(toy.parameters.values())), strict=True))
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
    assert norm > 0.1
    (point,) = toy.train(TrainSettings(1, warmup=1, clip=0.1)).curve
    for name, gradient in gradients.items():
        torch.testing.assert_close(toy.parameters[name].detach(), before[name] - 0.05 * gradient * 0.1 / norm)
    assert point["gradient_norm"] == pytest.approx(norm)
    assert point["loss"] == pytest.approx(loss.item())


def test_the_rate_of_each_step_is_the_scheduled_one():
    seen = []
    toy = Toy("muon")
    for optimizer in toy.optimizers:
        optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    toy.train(TrainSettings(5, warmup=2, decay="linear"))
    rates = [0.05 * factor for factor in factors(steps=5, warmup=2, decay="linear")]
    np.testing.assert_allclose(seen, np.repeat(rates, 2))


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_optimizers_rates_are_the_callers_again_afterwards(interrupted):
    toy = Toy("muon")
    if interrupted:
        with pytest.raises(InterruptedError):
            toy.train(on_step=stop_after(7))
    else:
        toy.train()
    assert [group["lr"] for optimizer in toy.optimizers for group in optimizer.param_groups] == [0.05, 0.05]


def test_accumulated_parts_are_one_larger_batch():
    parts, whole = Toy("sgd"), Toy("sgd")

    def both(step, part):
        losses = [whole.objective(step, i) for i in range(3)]
        return sum(loss for loss, _ in losses) / 3, {"worst": sum(m["worst"] for _, m in losses) / 3}

    first = parts.train(TrainSettings(5, accumulate=3))
    second = whole.train(TrainSettings(5), objective=both)
    torch.testing.assert_close(parts.weights(), whole.weights())
    for a, b in zip(without_seconds(first.curve), without_seconds(second.curve), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_metrics_are_means_over_the_parts_that_have_them():
    toy = Toy("sgd")

    def objective(step, part):
        return toy.objective(step, part)[0], {"rare": [None, 2.0, 4.0][part], "never": None}

    (point,) = toy.train(TrainSettings(1, accumulate=3), objective=objective).curve
    assert (point["rare"], point["never"]) == (3.0, None)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_finds_the_least_squares(optimizer):
    toy = Toy(optimizer)
    result = toy.train(TrainSettings(200, decay="cosine"))
    assert result.curve[-1]["loss"] < result.curve[0]["loss"] / 50
    assert [point["step"] for point in result.curve] == list(range(1, 201))


def test_progress_is_seen_after_every_step_and_seconds_never_fall():
    seen = []
    result = Toy().train(on_step=lambda step, metrics: seen.append((step, metrics["loss"])))
    assert seen == [(point["step"] - 1, point["loss"]) for point in result.curve]
    seconds = [point["seconds"] for point in result.curve]
    assert seconds == sorted(seconds)
    assert result.seconds == seconds[-1] > 0


# Interrupted and resumed.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("interrupted_after", range(1, 9))
def test_an_interrupted_run_ends_at_the_same_bits(tmp_path, optimizer, interrupted_after):
    whole = Toy(optimizer)
    expected = whole.train(checkpoint=tmp_path / "whole")

    first = Toy(optimizer)
    with pytest.raises(InterruptedError):
        first.train(checkpoint=tmp_path / "cut", on_step=stop_after(interrupted_after))
    second, steps = Toy(optimizer), []
    result = second.train(checkpoint=tmp_path / "cut", resume=True, on_step=lambda step, _: steps.append(step))
    saved = 8 if interrupted_after == 8 else interrupted_after // 3 * 3
    assert steps == list(range(saved, 8)), "no step of a checkpoint is done again"
    assert_bitwise_equal(second.weights(), whole.weights())
    assert without_seconds(result.curve) == without_seconds(expected.curve)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_goes_on_with_the_very_objects_that_were_interrupted(tmp_path, optimizer):
    whole, toy = Toy(optimizer), Toy(optimizer)
    whole.train()
    for steps in (4, 7):
        with pytest.raises(InterruptedError):
            toy.train(checkpoint=tmp_path / "c", resume=True, on_step=stop_after(steps))
    toy.train(checkpoint=tmp_path / "c", resume=True)
    assert_bitwise_equal(toy.weights(), whole.weights())


def test_seconds_go_on_where_the_interrupted_run_stopped(tmp_path):
    with pytest.raises(InterruptedError):
        Toy().train(checkpoint=tmp_path / "c", on_step=lambda step, _: stop_after(4)(step, time.sleep(0.01)))
    result = Toy().train(checkpoint=tmp_path / "c", resume=True)
    seconds = [point["seconds"] for point in result.curve]
    assert seconds == sorted(seconds)
    assert seconds[3] > seconds[2] > 0.02


def test_a_finished_run_is_not_done_again(tmp_path):
    expected = Toy().train(checkpoint=tmp_path / "c")
    again = Toy()
    assert again.train(checkpoint=tmp_path / "c", resume=True, objective=None) == expected


def test_without_resume_a_checkpoint_is_overwritten(tmp_path):
    Toy().train(checkpoint=tmp_path / "c")
    again, steps = Toy(), []
    again.train(checkpoint=tmp_path / "c", on_step=lambda step, _: steps.append(step))
    assert steps == list(range(8))


def test_resume_begins_where_there_is_no_checkpoint_yet(tmp_path):
    whole, toy = Toy(), Toy()
    whole.train()
    toy.train(checkpoint=tmp_path / "new" / "c", resume=True)
    assert_bitwise_equal(toy.weights(), whole.weights())


# A real kill -9, from outside at any moment and from inside in the middle of a save.

SIGKILL = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
LONG = {"steps": 150, "warmup": 2, "decay": "cosine", "checkpoint_every": 1}
RUN = "import sys, test_train; test_train.run_to_be_killed(sys.argv[1], sys.argv[2])"


def run_to_be_killed(checkpoint, where):
    """What the killed process does: a long run that saves each step."""
    if where == "in the third save":
        calls, fsync = [], os.fsync

        def die_at_the_third(descriptor):
            calls.append(descriptor)
            if len(calls) == 3:
                os.ftruncate(descriptor, 100)  # as if the rest had not reached the disk
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(descriptor)

        os.fsync = die_at_the_third
    Toy("muon").train(TrainSettings(**LONG), checkpoint=Path(checkpoint), on_step=lambda *_: time.sleep(0.02))


@pytest.fixture(scope="module")
def uninterrupted():
    toy = Toy("muon")
    toy.train(TrainSettings(**LONG))
    return toy.weights()


@SIGKILL
@pytest.mark.parametrize("where", ["from outside", "in the third save"])
def test_a_killed_run_ends_at_the_same_bits(tmp_path, uninterrupted, where):
    checkpoint = tmp_path / "c"
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here, here.parent, here.parents[1])))}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(checkpoint), where], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if where == "from outside":
            time.sleep(0.15)
            process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
    finally:
        process.kill()
    toy, steps = Toy("muon"), []
    toy.train(TrainSettings(**LONG), checkpoint=checkpoint, resume=True, on_step=lambda step, _: steps.append(step))
    if where == "from outside":
        assert 0 < steps[0] < 149
    else:
        assert steps[0] == 2
    assert_bitwise_equal(toy.weights(), uninterrupted)


def test_a_save_that_fails_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    checkpoint, toy = tmp_path / "c", Toy()
    with pytest.raises(InterruptedError):
        toy.train(checkpoint=checkpoint, on_step=stop_after(4))
    before = checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=f"cannot write {re.escape(str(checkpoint))}: No space left on device"):
            Toy().train(checkpoint=checkpoint, resume=True)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


# Numbers that are not finite.


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("part", [0, 1])
def test_a_loss_that_is_not_finite_stops_at_the_last_good_step(tmp_path, bad, part):
    toy, after = Toy(), {}

    def objective(step, at):
        loss, metrics = toy.objective(step, at)
        return (loss * bad if (step, at) == (4, part) else loss), metrics

    settings = TrainSettings(**SETTINGS, accumulate=2)
    path = re.escape(str(tmp_path / "c"))
    message = f"loss must be finite, got {bad} at step 5; the last good checkpoint is {path}, of step 3"
    with pytest.raises(FloatingPointError, match=message):
        toy.train(
            settings,
            objective=objective,
            checkpoint=tmp_path / "c",
            on_step=lambda step, _: after.update({step: toy.weights()}),
        )
    assert max(after) == 3
    assert_bitwise_equal(toy.weights(), after[3])
    again = Toy()
    load_checkpoint(tmp_path / "c", again.parameters, again.optimizers, settings)
    assert_bitwise_equal(again.weights(), after[2])


def test_a_gradient_that_is_not_finite_stops_at_the_last_good_step():
    toy, after = Toy(), {}

    def objective(step, part):
        loss, metrics = toy.objective(step, part)
        # The root has an infinite slope at 0, where its value is finite.
        return (loss + (0 * toy.parameters["offset"]).square().sum().sqrt() if step == 2 else loss), metrics

    with pytest.raises(
        FloatingPointError, match="gradient must be finite, got nan at step 3; no checkpoint was written"
    ):
        toy.train(objective=objective, on_step=lambda step, _: after.update({step: toy.weights()}))
    assert_bitwise_equal(toy.weights(), after[1])


def test_a_resumed_run_names_the_checkpoint_it_came_from(tmp_path):
    with pytest.raises(InterruptedError):
        Toy().train(checkpoint=tmp_path / "c", on_step=stop_after(3))
    toy = Toy()

    def objective(step, part):
        loss, metrics = toy.objective(step, part)
        return loss * math.nan, metrics

    with pytest.raises(FloatingPointError, match=r"got nan at step 4; the last good checkpoint is .*c, of step 3"):
        toy.train(objective=objective, checkpoint=tmp_path / "c", resume=True)


# Checkpoints that are not one.


@pytest.fixture
def checkpoint(tmp_path):
    Toy().train(checkpoint=tmp_path / "c")
    return tmp_path / "c"


def assert_refused(checkpoint, message, toy=None, **settings):
    toy = toy or Toy()
    before = toy.weights()
    with pytest.raises(ValueError, match=message):
        toy.train(TrainSettings(**SETTINGS | settings), checkpoint=checkpoint, resume=True)
    assert_bitwise_equal(toy.weights(), before)
    assert all(not optimizer.state for optimizer in toy.optimizers)


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_a_damaged_checkpoint_is_refused(checkpoint, keep):
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    assert_refused(checkpoint, f"checkpoint {re.escape(str(checkpoint))} must be readable, got a damaged file: ")


def test_a_checkpoint_of_another_program_is_refused(checkpoint):
    for metadata in (None, {"format": "pt"}):
        save_file({"parameter.matrix": torch.zeros(4, 3)}, checkpoint, metadata=metadata)
        assert_refused(checkpoint, "must be one of longlora_edu, got a foreign safetensors file")


def test_a_checkpoint_of_other_settings_is_refused_by_name(checkpoint):
    assert_refused(checkpoint, "same run, got other settings: steps 8 then, 9 now$", steps=9)
    assert_refused(
        checkpoint, "got other settings: warmup 2 then, 3 now, decay cosine then, linear now", warmup=3, decay="linear"
    )


def test_a_checkpoint_of_other_optimizers_is_refused_by_name(checkpoint):
    assert_refused(checkpoint, "got other settings: optimizer 0 AdamW then, Muon now", Toy("muon"))
    toy = Toy()
    toy.optimizers[0].param_groups[0]["lr"] = 0.5
    assert_refused(checkpoint, "got other settings: optimizer 0 group 0 lr 0.05 then, 0.5 now$", toy)


def test_a_checkpoint_of_other_parameters_is_refused_by_name(checkpoint):
    toy = Toy()
    toy.parameters["bias"] = toy.parameters.pop("offset")
    assert_refused(checkpoint, "missing parameter.bias, not expected parameter.offset: bring a copy", toy)
    toy.parameters["offset"] = torch.nn.Parameter(torch.zeros(3))
    assert_refused(checkpoint, "missing parameter.bias, not expected none: bring a copy", toy)


def test_a_checkpoint_of_another_shape_is_refused_by_name(checkpoint):
    toy = Toy()
    toy.parameters["matrix"] = torch.nn.Parameter(torch.zeros(5, 3))
    assert_refused(
        checkpoint,
        r"must hold parameter.matrix as torch.float32 of shape \(5, 3\), got torch.float32 of shape \(4, 3\)",
        toy,
    )


def rewritten(checkpoint, change):
    """Change description or tensors of a checkpoint and give it a valid digest again, as damage never could."""
    with safe_open(checkpoint, framework="pt") as file:
        about = json.loads(file.metadata()["longlora_edu"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = json.dumps(change(about, state) or about)
    metadata = {"longlora_edu": text, "sha256": checkpoint_module._digest(text, state)}
    save_file(state, checkpoint, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about, state: state.pop("optimizer.0.1.exp_avg"), "missing optimizer.0.1.exp_avg, not expected none: "),
        (lambda about, state: state.update(more=torch.ones(1)), "missing none, not expected more: bring a copy"),
        (
            lambda about, state: state.update({"optimizer.0.0.exp_avg": torch.ones(2, 2)}),
            r"must hold optimizer.0.0.exp_avg as torch.float32 of shape \(4, 3\), got torch.float32 of shape \(2, 2\)",
        ),
        (
            lambda about, state: state.update({"parameter.offset": state["parameter.offset"].double()}),
            r"must hold parameter.offset as torch.float32 of shape \(3,\), got torch.float64",
        ),
        (
            lambda about, state: about.update(curve=about["curve"][1:]),
            "must have a curve of at most 8 steps, one after",
        ),
        (
            lambda about, state: about["curve"].append(about["curve"][-1] | {"step": 9}),
            "must have a curve of at most 8 steps, one after the other, got 9 points: bring a copy",
        ),
        (lambda about, state: about["curve"][3].pop("seconds"), "must have seconds at each point of its curve"),
        (lambda about, state: about.pop("curve"), "must describe its run, got another description: bring a copy"),
        (lambda about, state: [1], "must describe its run, got another description"),
        (lambda about, state: about.update(format=3), "must be of format 2, got 3: use its own version"),
    ],
)
def test_a_checkpoint_with_a_valid_digest_is_compared_with_the_run(checkpoint, change, message):
    def keep(about, state):
        changed = change(about, state)
        return changed if isinstance(changed, list) else None

    rewritten(checkpoint, keep)
    assert_refused(checkpoint, message)


def test_a_checkpoint_of_an_older_version_is_refused_with_what_to_do(checkpoint):
    save_file({"parameter.matrix": torch.zeros(4, 3)}, checkpoint, metadata={"longlora_edu": "{}"})
    assert_refused(checkpoint, "must hold a digest, got one of an older version: finish its run with that version, or")


def test_a_changed_byte_of_a_tensor_is_noticed(checkpoint):
    data = bytearray(checkpoint.read_bytes())
    data[-5] ^= 1
    checkpoint.write_bytes(data)
    assert_refused(checkpoint, "must be as it was written, got one that was damaged since: bring a copy of it, or del")


def test_a_parameter_that_never_had_a_gradient_has_no_state_to_miss(tmp_path):
    whole, cut = Toy(), Toy()
    for toy in (whole, cut):
        toy.parameters["idle"] = torch.nn.Parameter(torch.zeros(2))
        toy.optimizers = OPTIMIZERS["adamw"](toy.parameters)
    whole.train()
    with pytest.raises(InterruptedError):
        cut.train(checkpoint=tmp_path / "c", on_step=stop_after(4))
    cut.train(checkpoint=tmp_path / "c", resume=True)
    assert_bitwise_equal(cut.weights(), whole.weights())


def test_a_checkpoint_is_one_file_with_its_curve(tmp_path):
    toy = Toy()
    curve = [{"step": 1, "seconds": 0.5, "loss": 2.0, "passkey_nats": None}]
    save_checkpoint(tmp_path / "c", toy.parameters, toy.optimizers, TrainSettings(3), curve)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    again = Toy()
    with torch.no_grad():
        again.parameters["matrix"].zero_()
    assert load_checkpoint(tmp_path / "c", again.parameters, again.optimizers, TrainSettings(3)) == curve
    assert_bitwise_equal(again.weights(), toy.weights())
