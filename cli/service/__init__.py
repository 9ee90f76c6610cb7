"""Commands that run, watch and search the service."""
