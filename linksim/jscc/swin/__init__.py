"""SwinJSCC and WITT as JSCC codecs, and their checkpoints."""
