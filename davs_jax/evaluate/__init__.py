"""Evaluation of a trained model on every clip of a split, and the report of it."""
