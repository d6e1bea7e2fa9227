"""The table of families: its counts are those of its rows, and what judges them can say each verdict."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")

import families  # noqa: E402

from longlora_edu.hf import sparse_attention as plug  # noqa: E402

ROOT = Path(__file__).parents[2]
UNEVEN = "layers with settings of their own: ['head_dim']"
RECORD = json.loads(families.RECORD.read_text(encoding="utf-8"))
MECHANISMS = (
    "must dispatch attention through transformers' AttentionInterface", "attention that is not causal", "layer_types",
    "sliding_window", "soft-capped logits", "attention sinks", "parts with configs of their own",
    "an encoder and a decoder", "cross-attention", "must support stock sdpa",
    "query heads that key heads do not divide", "layers with settings of their own",
)  # fmt: skip


def test_no_family_is_wrong_or_crashes_and_the_counts_are_those_of_the_rows():
    rows = RECORD["families"]
    assert RECORD["counts"] == families.counts(rows)
    assert RECORD["counts"]["right"] >= 81
    assert RECORD["counts"]["wrong"] == RECORD["counts"]["crash"] == 0
    assert sum(RECORD["counts"][verdict] for verdict in families.VERDICTS) == RECORD["counts"]["families"]


def test_every_refusal_names_its_mechanism():
    refused = [row["why"] for row in RECORD["families"].values() if row["verdict"] == "refused"]
    assert [why for why in refused if not why.startswith(MECHANISMS)] == []


def test_the_docs_count_as_the_record_does():
    text = " ".join((ROOT / "docs" / "real_models.md").read_text(encoding="utf-8").split())
    (found,) = re.findall(
        r"Of (\d+) families of causal models in transformers ([\d.]+), (\d+) are right, (\d+) refused, (\d+) refused "
        r"in the first step, (\d+) wrong, (\d+) crashed; (\d+) could not be judged",
        text,
    )
    names = ("families", "right", "refused", "refused late", "wrong", "crash", "unjudged")
    counts = [str(RECORD["counts"][name]) for name in names]
    assert list(found) == [counts[0], RECORD["versions"]["transformers"], *counts[1:]]


@pytest.mark.parametrize(
    "name, verdict, why",
    [
        ("LlamaForCausalLM", "right", "2 layers, 6 heads"),
        ("OPTForCausalLM", "right", "2 layers, 6 heads"),
        ("Gemma2ForCausalLM", "refused", "soft-capped logits, attn_logit_softcapping: 50.0"),
        (
            "MambaForCausalLM",
            "refused",
            "must dispatch attention through transformers' AttentionInterface, and does not",
        ),
        ("Gemma4ForCausalLM", "refused", UNEVEN),
        ("NoSuchForCausalLM", "unjudged", "transformers does not show it"),
    ],
)
def test_a_class_is_judged_as_recorded(name, verdict, why):
    assert families.judged(name) == {"verdict": verdict, "why": why}
    recorded = [row for row in RECORD["families"].values() if row["class"] == name]
    assert all(row == {"class": name, "verdict": verdict, "why": why} for row in recorded)


def test_an_attention_that_forgets_the_shift_is_wrong(monkeypatch):
    real = plug.S2Settings.geometry
    monkeypatch.setattr(
        plug.S2Settings, "geometry", lambda self, n, h: type(real(self, n, h))(n, self.group_size, h, 0)
    )
    found = families.judged("LlamaForCausalLM")
    assert found["verdict"] == "wrong" and "largest difference" in found["why"]


def test_an_error_of_ours_is_a_crash_and_a_late_refusal_is_called_late(monkeypatch):
    for error, verdict in ((RuntimeError("no"), "crash"), (ValueError("x must be off"), "refused late")):

        def attend(*args, error=error, **options):
            raise error

        monkeypatch.setattr(plug, "s2_attention", attend)
        assert families.judged("LlamaForCausalLM")["verdict"] == verdict


def test_evaluation_that_is_not_stock_is_wrong(monkeypatch):
    real = plug.sdpa_attention_forward
    monkeypatch.setattr(plug, "sdpa_attention_forward", lambda *a, **o: (real(*a, **o)[0] * (1 + 1e-6), None))
    assert families.judged("LlamaForCausalLM") == {"verdict": "wrong", "why": "evaluation is not stock"}


def test_a_class_that_hangs_is_unjudged(monkeypatch):
    def hang(*_):
        while True:
            pass

    monkeypatch.setattr(families, "tiny", hang)
    assert families.judged("Any", seconds=1) == {"verdict": "unjudged", "why": "it took more than 1 s"}


def test_an_eager_attention_that_heeds_no_mask_cannot_judge(monkeypatch):
    real = families.with_gradients
    monkeypatch.setattr(families, "with_gradients", lambda model, ids, **_: real(model, ids))
    found = families.judged("LlamaForCausalLM")
    assert found == {"verdict": "unjudged", "why": "eager attention does not heed a mask for every head"}
