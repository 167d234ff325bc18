"""What the runs say taken together: statistics, comparison with the baseline."""
