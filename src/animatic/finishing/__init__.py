"""Stages that finish a video: more frames, more pixels, more detail. See `stages.finish`."""
