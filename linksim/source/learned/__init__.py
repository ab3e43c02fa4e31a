"""Source codecs that are trained networks with an entropy coder."""
