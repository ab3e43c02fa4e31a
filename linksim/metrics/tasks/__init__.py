"""What pictures are good for: classifiers, readers of text and decoders of codes as metrics."""
