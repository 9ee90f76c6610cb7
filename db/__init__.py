"""The ledger of runs and the published table, in Postgres."""
