"""What runs inside a peer's process: the loop that answers requests, a trainer per framework."""
