"""Media input and output for the command line and the ComfyUI nodes: PyAV in, R'G'B' tensors out, and back.

Readers and writers of video files and images, colour conversion, encoder settings, time stamps. Independent of the
engine and of every front end.
"""
