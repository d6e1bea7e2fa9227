"""`python -m longlora_edu.cli`."""

from . import lessons as course  # noqa: F401 (they add their commands)
from .app import app

app()
