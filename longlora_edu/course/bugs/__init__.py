"""The bug gallery: ways to get S²-Attn wrong, most of them published, and a way to tell which one a function makes.

Read `steps.py` for the steps done right, `functions.py` for the mistakes, `gallery.py` for where they were seen.
"""

from .diagnose import diagnose, recognise
from .gallery import BUGS, Bug
from .steps import rolled

__all__ = ["BUGS", "Bug", "diagnose", "recognise", "rolled"]
