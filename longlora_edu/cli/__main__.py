"""`python -m longlora_edu.cli`."""

from . import course, real, small  # noqa: F401 (they add their commands)
from .app import app

app()
