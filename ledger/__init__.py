"""The ledger moves credits, and asks the detector before it does."""
