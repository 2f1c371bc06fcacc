"""Monitors a training run: metrics and images, time accounting, profiles, and a status page in the terminal."""
