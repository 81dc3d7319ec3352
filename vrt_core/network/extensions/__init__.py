"""Parts of the network that are not in the paper."""
