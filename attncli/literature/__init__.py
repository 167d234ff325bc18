"""What the literature says of the mechanisms, as data with its readers: claims and published figures."""
