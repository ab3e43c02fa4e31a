"""Source codecs: pictures to bytes and back."""
