"""What recommenders learn from: sources, schema, selections, splits, negatives."""
