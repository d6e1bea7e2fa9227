"""The command line: the small model, real models, the course."""

from . import course, real, small, study
from .app import app

__all__ = ["app", "course", "real", "small", "study"]
