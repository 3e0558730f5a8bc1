"""How good a result is: scores of classes, instances and points against the truth."""
