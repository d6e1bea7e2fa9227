"""The command line: the small model, real models, the course."""

from . import bench, course, real, small, study
from .app import app

__all__ = ["app", "bench", "course", "real", "small", "study"]
