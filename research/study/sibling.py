"""A larger sibling of the small model, for a machine with a GPU: more weights, and a context worth extending."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save

from longlora_edu.runs.progress import Progress
from longlora_edu.runs.records import read_json, replace_file, write_json
from longlora_edu.training.corpus import Corpus, standard_library
from longlora_edu.training.pretrain import PretrainConfig, run_pretraining

# 7.6 million weights: 15 MB in half precision. At 1,024 bytes a definition and its use often share a window.
SIBLING = PretrainConfig(
    context=1024, hidden_size=320, intermediate_size=864, layers=6, heads=5, steps=12_000, batch=64, warmup=200
)
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def make_sibling(
    folder: Path,
    *,
    config: PretrainConfig = SIBLING,
    corpus: Corpus | None = None,
    device: str = "cpu",
    threads: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Pretrain the sibling as the small model was, keep it in bfloat16 with its record, and return the record.

    The bits per byte of the record are of float32, before rounding. Where `folder` holds it, nothing is done.

    Raises:
        ValueError: for what `run_pretraining` refuses.
    """
    folder = Path(folder)
    if not (folder / "pretraining.json").exists():
        whole, corpus = folder.with_name(f"{folder.name}-float32"), corpus or standard_library()
        options = {"device": device, "threads": threads, "resume": resume, "progress": progress}
        record = run_pretraining(config, corpus, whole, **options)
        weights = {name: tensor.bfloat16() for name, tensor in load_file(whole / "model.safetensors").items()}
        replace_file(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
        for name in FILES:
            replace_file(folder / name, (whole / name).read_bytes())
        write_json(folder / "pretraining.json", record)
    return read_json(folder / "pretraining.json")
