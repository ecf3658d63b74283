"""What do people see? Live table, logs, result tables."""
