"""Ablations: arms that differ in one thing are trained, measured and compared, to test the paper's claims."""
