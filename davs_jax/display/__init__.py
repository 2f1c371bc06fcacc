"""What people see: HTML pages, plots, progress bars, text tables."""
