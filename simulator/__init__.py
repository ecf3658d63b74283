"""What stands in for a provider? An OpenAI-compatible server with simulated models and faults."""
