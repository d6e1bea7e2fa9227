"""The bug gallery: ways to get S²-Attn wrong, most of them published, and a way to tell which one a function makes.

Read `functions.py` for what they compute, `gallery.py` for where they were seen.
"""

from .diagnose import diagnose, recognise
from .functions import rolled
from .gallery import BUGS, Bug

__all__ = ["BUGS", "Bug", "diagnose", "recognise", "rolled"]
