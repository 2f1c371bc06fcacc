"""What people see: HTML pages, plots, progress bars, text tables."""

from davs_jax.user_folders import settle_matplotlib

settle_matplotlib()  # before it is imported
