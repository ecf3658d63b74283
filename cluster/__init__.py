"""What if one machine is not enough? Shards on the nodes of a Ray cluster; Ray is imported nowhere else."""

import os

# Read by Ray when it is imported: a call that comes after we have left a cluster must not start another one.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
