"""Pictures of a training: which they are, and batches of crops."""
