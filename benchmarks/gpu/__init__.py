"""Everything that only a GPU can answer, in one command: `make gpu`."""
