"""Measures by how much a video's audio is late or early, and repairs it."""
