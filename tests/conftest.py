from __future__ import annotations

from hypothesis import Phase, settings

# For `pytest --hypothesis-profile=mutation`: every example is still tried, but no red one shrunk for a reader.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], deadline=None, derandomize=True)
