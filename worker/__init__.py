"""The service: settings, broker, tasks, and the processing of a run from listing to publishing."""
