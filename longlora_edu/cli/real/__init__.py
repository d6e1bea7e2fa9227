"""Real models: what an extension would cost, the training, and the use of what it made."""

from . import plan, train, use

__all__ = ["plan", "train", "use"]
