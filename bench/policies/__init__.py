"""The policies of pools next to the figures of the papers they come from: `make policies`."""
