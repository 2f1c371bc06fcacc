"""Helpers of the tests: small real files, small models, damaged inputs, processes."""
