"""The version of decoding. No torch."""

DECODING_VERSION = 1  # raise it whenever the same files would be decoded to other pixels
