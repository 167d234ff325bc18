"""What attncli needs from the machine and from Python: hardware, signals, garbage collection, source files."""
