"""Provenance of generated files: plain tags, signed C2PA manifests, the visible mark."""
