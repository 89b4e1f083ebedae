"""What a server keeps: apps and calls in SQLite."""
