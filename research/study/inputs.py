"""Inputs of runs: a text, and base models by name. Their hashes are part of every key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from longlora_edu.model import TinyLlama, load_tiny_llama
from longlora_edu.model.folder import bundled_folder
from longlora_edu.training.corpus import Corpus, read_corpus, standard_library

from ..law.law_file import law_hash
from ..law.recall import Recall
from .spec import Run, Settings, key_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# The small model of the studies, trained at 256 bytes. Records call it "bundled": it was the package's when they began.
BASE = bundled_folder(256)
WEIGHTS = "model.safetensors"


def default_folder() -> Path:
    """Return the folder of records: with the benchmarks in a checkout, else in the current folder."""
    return BENCHMARKS / "results" / "runs" if BENCHMARKS.is_dir() else Path("longlora-study")


def default_models() -> Path:
    """Return the folder of further base models: `benchmarks/models` in a checkout, else `models` beside the records."""
    return BENCHMARKS / "models" if BENCHMARKS.is_dir() else default_folder() / "models"


def default_digest() -> Path:
    """Return the lessons' file of study results in a checkout, else a file in the current folder."""
    inside = BENCHMARKS.parent / "longlora_edu" / "assets" / "results" / "studies.json"
    return inside if BENCHMARKS.is_dir() else Path("longlora-study.json")


@dataclass(frozen=True)
class Inputs:
    """A text, the folder of further base models (`"bundled"` is `BASE`), and where to compute.

    When `planning`, a base that is not made yet has keys too, of which there can be no record.
    """

    corpus: Corpus
    source: str | None = None
    models: Path = field(default_factory=default_models)
    device: str = "cpu"
    planning: bool = False
    _hashes: dict = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(
        cls, source: str | None = None, models: Path | None = None, device: str = "cpu", planning: bool = False
    ) -> Inputs:
        """Read the standard library's own source, or a file or folder of text.

        Raises:
            ValueError: when the path holds no text.
        """
        corpus = standard_library() if source is None else read_corpus(Path(source))
        return cls(corpus, source, Path(models) if models else default_models(), device, planning)

    def base_folder(self, name: str) -> Path:
        """Return the folder of a base model."""
        inside = {"bundled": BASE, "package": bundled_folder()}  # that of 256 bytes, and of 512
        return inside.get(name) or self.models / name

    def has(self, name: str) -> bool:
        """Return whether a base model is made."""
        return (self.base_folder(name) / WEIGHTS).is_file()

    def base(self, name: str) -> TinyLlama:
        """Load a base model onto the device.

        Raises:
            ValueError: for a base that is not there, saying how it is made.
        """
        self.base_hash(name)
        return load_tiny_llama(self.base_folder(name)).to(self.device)

    def base_hash(self, name: str) -> str:
        """Return the sha256 of a base's weights file."""
        if name not in self._hashes:
            weights = self.base_folder(name) / WEIGHTS
            if not self.has(name):
                if self.planning:
                    return "not made yet"
                made = ": see longlora-edu study sibling" if name == "sibling" else ""
                raise ValueError(f"base {name} must be made before runs can begin with it, got no {weights}{made}")
            self._hashes[name] = hashlib.sha256(weights.read_bytes()).hexdigest()
        return self._hashes[name]

    def about(self, settings: Settings) -> dict:
        """Return the hashes of a run's inputs; a probe has none, since it makes its own data and model.

        A row of the law has that of the committed prediction, so that a changed prediction has no rows.
        """
        law = {}
        if isinstance(settings, Recall):
            law = {"law": law_hash()}
            if settings.task == "references":
                law |= {"base": self.base_hash("package"), "corpus": self.corpus.hash}
        if not isinstance(settings, Run):
            return law
        return {"base": self.base_hash(settings.base), "corpus": self.corpus.hash}

    def key(self, settings: Settings) -> str:
        """Return the key of a run: the name of its record."""
        return key_of(settings, self.about(settings))
