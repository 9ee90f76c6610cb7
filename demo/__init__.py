"""A sample archive with known truth, embedded servers, and the one-command tour."""
