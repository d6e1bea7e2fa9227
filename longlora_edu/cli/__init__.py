"""The command line: the small model, real models, the course."""

from research import cli_bench as bench
from research import cli_study as study

from . import lessons as course
from . import real, small
from .app import app

__all__ = ["app", "bench", "course", "real", "small", "study"]
