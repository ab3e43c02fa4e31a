"""linksim: an end-to-end simulator of image transmission over a wireless link.

image → encoder → symbols → channel operator → received symbols + CSI → receiver → image → metrics.
"""

__version__ = "0.1.0"
