"""The grids behind the evidence: runs keyed by their settings, studies that share them, a report made of records.

In order of reading: `settings` (one row), `layouts`, `bands` and `embedding` (what only studies need), `extend`,
`measure`, `ground`, `row` (one row computed and kept), `claims`, `grid` (many rows), `verdict`, `part` and `questions`
(the eleven studies), `evidence` (the page that is made of them).
"""
