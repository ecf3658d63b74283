"""Who is alive? Child processes and messages over pipes."""
