"""VRT for VapourSynth: a clip in, the restored clip out.

In a script, ``from vsvrt import restore`` and ``clip = restore(clip, model="denoise-small", sigma=20)``.
"""

from .filter import restore

__all__ = ["restore"]
