"""Official PyTorch weights, of DAVS and SyncNet, in our layout."""
