"""Channel coding and modulation: bytes to symbols and back."""
