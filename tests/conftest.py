from __future__ import annotations

from hypothesis import Phase, settings

# For `benchmarks/mutation.py`: the same examples, but a red one is not shrunk; nobody reads it. Shortening
# `max_examples` here would do nothing where a test states its own, and would let mutants through where not.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], deadline=None, derandomize=True)
