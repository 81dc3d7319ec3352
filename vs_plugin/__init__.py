"""VRT video restoration as a VapourSynth filter.

In a script: ``from vsvrt import restore`` and ``clip = restore(clip, model="denoise-small", sigma=20)``.
"""

from .filter import restore

__all__ = ["restore"]
