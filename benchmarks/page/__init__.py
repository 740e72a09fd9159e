"""docs/benchmarks.md: from records to figures, targets, tables and pictures."""
