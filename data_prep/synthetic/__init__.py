"""The synthetic corpus: rendered people who speak with synthetic voices."""
