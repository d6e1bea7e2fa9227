"""The evidence: studies and benchmarks, run from a checkout; not part of the wheel."""
