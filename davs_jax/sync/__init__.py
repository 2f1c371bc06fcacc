"""The audio-visual offset of a file, and its repair."""
