"""What runs stand on: a text, and base models by name. Their hashes are part of every key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from longlora_edu.model import TinyLlama, load_tiny_llama
from longlora_edu.training.corpus import Corpus, read_corpus, standard_library

from .spec import Run, Settings, key_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WEIGHTS = "model.safetensors"


def default_folder() -> Path:
    """Where records live: with the benchmarks in a checkout, else in a folder of the user's own."""
    return BENCHMARKS / "results" / "runs" if BENCHMARKS.is_dir() else Path("longlora-study")


def default_models() -> Path:
    """Where base models but the package's own live: with the benchmarks in a checkout, else with the records."""
    return BENCHMARKS / "models" if BENCHMARKS.is_dir() else default_folder() / "models"


def default_digest() -> Path:
    """Where lessons look for the studies in a checkout, else a file in a folder of the user's own."""
    inside = BENCHMARKS.parent / "longlora_edu" / "assets" / "results" / "studies.json"
    return inside if BENCHMARKS.is_dir() else Path("longlora-study.json")


@dataclass(frozen=True)
class Ground:
    """A text, the folder of further base models (`"bundled"` is the model of the package), and where to compute.

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
    ) -> Ground:
        """The standard library's own source, or a file or folder of text.

        Raises:
            ValueError: when the path holds no text.
        """
        corpus = standard_library() if source is None else read_corpus(Path(source))
        return cls(corpus, source, Path(models) if models else default_models(), device, planning)

    def base_folder(self, name: str) -> Path:
        """The folder of a base model."""
        return Path(str(files("longlora_edu") / "assets" / "model")) if name == "bundled" else self.models / name

    def has(self, name: str) -> bool:
        """Whether a base model is made."""
        return (self.base_folder(name) / WEIGHTS).is_file()

    def base(self, name: str) -> TinyLlama:
        """A base model, freshly loaded onto the device.

        Raises:
            ValueError: for a base that is not there, saying how it is made.
        """
        self.base_hash(name)
        return load_tiny_llama(self.base_folder(name)).to(self.device)

    def base_hash(self, name: str) -> str:
        """sha256 of a base's weights file."""
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
        """The hashes of what a run stands on; a probe makes its own data and model."""
        if not isinstance(settings, Run):
            return {}
        return {"base": self.base_hash(settings.base), "corpus": self.corpus.hash}

    def key(self, settings: Settings) -> str:
        """The name of a run's record."""
        return key_of(settings, self.about(settings))
