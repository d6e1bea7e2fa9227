"""`python -m longlora_edu.cli`."""

from . import bench, course, real, small, study  # noqa: F401 (they add their commands)
from .app import app

app()
