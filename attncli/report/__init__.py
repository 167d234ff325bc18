"""What people look at: tables, plots, and a run while it goes on."""
