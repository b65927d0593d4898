"""What was learned: artifacts, their cards and the registry that says which one is champion.

`artifact` writes and reads them; `model` scores, `trees` and `tails` being its parts. A policy generation that names no
model judges by limits and rules alone, and `/healthz` says so.
"""
