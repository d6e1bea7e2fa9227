"""Learners as data: what they believe and write, from `course/learners`, among the names that a lesson gives them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from longlora_edu import attention, cost, lora, reference
from longlora_edu.geometry import S2Geometry
from longlora_edu.rope import Rope

FOLDER = Path(__file__).parent / "course/learners"
CLASSES = {"06.lora_layer": "LoRALayer"}


def read(name: str) -> list[dict]:
    """The entries of one file of learners."""
    (entries,) = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")).values()
    return entries


def names_of_lesson(lesson: str) -> dict:
    """What a cell of this lesson finds when it is run: the names that its exercises use."""
    numpy_lesson = lesson in ("02", "03", "05", "10")
    names = {"np": np, "torch": torch, "nn": nn, "F": F, "rearrange": rearrange, "cost": cost, "lora": lora}
    names |= {"S2Geometry": S2Geometry, "Rope": Rope, "reference": reference}
    source = reference if numpy_lesson else attention
    names |= {"full_attention": source.full_attention, "s2_attention": source.s2_attention}

    def plain_groups(q, k, v, group_size):
        return attention.s2_attention(q, k, v, S2Geometry(q.shape[2], group_size, q.shape[1], shift=0))

    names["plain_groups"] = plain_groups
    return names


def written(entry: dict) -> dict:
    """Run an entry's code among the names of its lesson; its function is under the exercise's own name."""
    lesson, _, exercise = entry["exercise"].partition(".")
    names = names_of_lesson(lesson)
    exec(compile(entry["code"], f"<{exercise}>", "exec"), names)
    return names


def function(entry: dict):
    """The function or class that an entry hands in."""
    exercise = entry["exercise"].partition(".")[2]
    return written(entry)[CLASSES.get(entry["exercise"], exercise)]


def verdict(entry: dict, journal) -> tuple[str, str]:
    """Hand an entry in to its check: the name of the mistake and the sentence, or "right" and the praise."""
    import importlib
    import pkgutil

    from longlora_edu.course import checks

    lesson, _, exercise = entry["exercise"].partition(".")
    names = [one.name for one in pkgutil.iter_modules(checks.__path__) if one.name.startswith(f"l{lesson}")]
    modules = [importlib.import_module(f"longlora_edu.course.checks.{name}") for name in names]  # 02 has three
    (check,) = (getattr(module, exercise) for module in modules if hasattr(module, exercise))
    try:
        check(function(entry), journal=journal)
    except checks.CheckFailed as error:
        return error.mistake, str(error)
    return "right", ""
