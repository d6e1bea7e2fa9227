"""Records, progress, timing and validation: what every run needs."""
