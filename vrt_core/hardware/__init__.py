"""Devices, CUDA streams and CPU threads."""

from .devices import pick_device, pick_dtype, usable_bytes
from .streams import DeviceStream
from .threads import use_one_openmp_thread

__all__ = ["DeviceStream", "pick_device", "pick_dtype", "usable_bytes", "use_one_openmp_thread"]
