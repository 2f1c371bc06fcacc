"""Former name of `configs/ablations`; kept so that documented commands go on working."""
