"""A page to play with a link: one picture, one channel realisation, what arrives."""
