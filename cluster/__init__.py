"""What if one machine is not enough? Shards on the nodes of a Ray cluster; Ray is imported nowhere else."""
