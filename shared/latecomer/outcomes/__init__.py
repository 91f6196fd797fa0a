"""What outcome predictors learn from: fields of an example, and whether something came of it."""
