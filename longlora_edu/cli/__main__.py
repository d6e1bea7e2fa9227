"""`python -m longlora_edu.cli`."""

from . import app

app()
