"""The grids behind the evidence: runs keyed by their settings, studies that share them, a report made of records.

Read in this order: `spec` (settings of a row), `layouts`, `bands` and `embedding_lora` (what only studies need),
`extension`, `metrics`, `inputs`, `row` (compute and keep one row), `locks`, `grid` (many rows), `verdict`, `summary`,
`rerun` (a row beside its record), `part`, `windows`, `resample`, `seed_plots` and `questions` (the eleven studies),
`evidence`, `front_page` and `digest` (what is made of them).
"""
