"""Explorers of groups, positions, ranks and costs, each with a picture for where nothing moves.

The explorer of groups draws in the browser (`explorer`, needs anywidget); the other panels are plain ipywidgets
around a function that returns a `Picture`.
"""

from .display import Picture as Picture  # from plots, whose page documents it
from .display import show

__all__ = ["show"]
