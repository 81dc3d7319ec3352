"""Decoded video frames to R'G'B' tensors and back, and when frames are shown.

What the command line and the ComfyUI nodes share, so that both give the same frames. Knows PyAV's frames, opens no
files, and knows nothing of restoring.
"""
