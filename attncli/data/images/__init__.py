"""Images as arrays: decoding, the cache of decoded images, images of different sizes."""
