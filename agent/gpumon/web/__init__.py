"""HTTP for clients of any kind: where it listens, whom it lets in, and how patient it is."""
