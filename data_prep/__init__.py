"""From corpora to shards: each source finds its files and labels, one clip pipeline and one shard maker do the rest."""
