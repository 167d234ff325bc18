"""What only a GPU runs, on a simulated one: whole steps on tensors that have shapes, but no numbers."""
