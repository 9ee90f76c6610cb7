"""Fine-tuning of a whole network with its heads."""
