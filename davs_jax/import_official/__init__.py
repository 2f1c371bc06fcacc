"""Files of others: official weights and PyTorch's format."""
