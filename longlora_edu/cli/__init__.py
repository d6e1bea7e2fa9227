"""The command line: the small model, real models, the course; `study` and `bench` from a checkout."""

from . import checkout, lessons, real, small
from .app import app

__all__ = ["app", "checkout", "lessons", "real", "small"]
