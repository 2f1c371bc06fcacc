"""Records → windows → batches. The only home of Grain."""
