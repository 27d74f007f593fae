"""A week of a thousand nodes at published failure rates: who is woken, and who gets a ticket."""
