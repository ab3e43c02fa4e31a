"""What the libraries beneath need: caches, processes, imports that wait."""
