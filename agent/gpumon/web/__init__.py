"""HTTP for clients of any kind: the addresses, the access control, and the time limits."""
