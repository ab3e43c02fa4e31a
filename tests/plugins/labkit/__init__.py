"""Kinds of a laboratory of its own: importing the package makes them known to linksim."""

from labkit import coding, diffusion, hardware, measures, pictures, radio

__all__ = ["coding", "diffusion", "hardware", "measures", "pictures", "radio"]
