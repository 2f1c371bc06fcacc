"""From corpora to shards: sources find files and labels, one pipeline and one shard maker do the rest."""
