"""torch.compile for parts of the network: blocks and fusions, each kind compiled once.

A pass has some thousand to 25 thousand operations; as one graph, even the small networks take too long to compile. But
a pass runs few different blocks, and these are local to windows: one program serves all blocks of a shape.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .stages import Stage
from .tmsa import TMSA
from .vrt import VRT

_log = logging.getLogger(__name__)

_MAX_PROGRAMS = 1024
"""For the blocks of all networks of a process. torch's own limit is 8; beyond it, torch silently stops compiling."""


def compile_parts(network: VRT, *, backend: str | Callable[..., Any] = "inductor") -> Callable[..., Tensor]:
    """Return a function like ``network.forward`` that runs compiled parts on the same weights.

    Every new clip size compiles again, seconds for each of some twenty programs; torch caches them on disk. If
    compilation fails (for want of a compiler, say), the network runs uncompiled and a warning is logged.

    Args:
        network: Moved and cast already; it is not changed.
        backend: Backend of ``torch.compile``.
    """
    from torch._dynamo import config  # takes a second to import
    from torch._dynamo.exc import TorchDynamoException

    twin = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for part in twin.modules():
        if isinstance(part, TMSA):
            part.compile(dynamic=False, backend=backend)
        elif isinstance(part, Stage) and part.num_hops:
            # not the deformable convolution: its compiled sampling made passes on a CPU 1.5 times as long
            part.pa_fuse.compile(dynamic=False, backend=backend)

    works = True

    def run(*args: Any, **options: Any) -> Tensor:
        nonlocal works
        # the limits are per thread, so each call sets them; every version of torch knows them as cache_size_limit
        with config.patch(cache_size_limit=_MAX_PROGRAMS, accumulated_cache_size_limit=_MAX_PROGRAMS):
            try:
                return (twin if works else network)(*args, **options)
            except TorchDynamoException as error:
                works, reason = False, " ".join(str(error).strip().partition("\n\n")[0].split())
                _log.warning("cannot compile, so the network runs as it is: %s", reason)
        return network(*args, **options)

    return run
