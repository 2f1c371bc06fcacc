"""Generates a talking-face video from a photo (or a video) and a driver."""
