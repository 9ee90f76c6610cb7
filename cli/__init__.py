"""The `mernet` command: one module for each group of commands."""
