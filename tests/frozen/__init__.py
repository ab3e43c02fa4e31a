"""What must not move when the code is reshaped: hashes, keys, results, texts, and runs of former versions."""
