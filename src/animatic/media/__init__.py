"""Video, picture and sound files: read, written, timed."""
