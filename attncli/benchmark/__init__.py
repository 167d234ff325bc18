"""Speed of attncli beside plain loops and other libraries: `attncli bench`."""
