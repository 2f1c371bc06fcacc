"""Ablations: arms that differ in one component are trained, measured and compared, to test the paper's claims."""
