"""What the literature says of the mechanisms, and what our runs say of it."""
