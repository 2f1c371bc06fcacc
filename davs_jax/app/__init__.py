"""What the page shows and does."""
