"""The network with what it repeats compiled: blocks and fusions, each kind once, not the whole as one program.

A pass is some thousand to 25 thousand operations; compiled as one, even the small networks take longer than anyone
waits. But a pass runs few different blocks, and these are local to windows: one program serves all of a shape.
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

_MOST_PROGRAMS = 1024
"""For the blocks of all networks of a process. Torch's own limit is 8, beyond which it silently compiles no more."""


def compile_parts(network: VRT, *, backend: str | Callable[..., Any] = "inductor") -> Callable[..., Tensor]:
    """Return what runs as ``network.forward`` does, its parts compiled, on the same weights.

    Every new size of clip compiles anew, seconds for each of some twenty programs. They stay in torch's cache on disk.
    Where that cannot be done (no compiler, say) the network goes on plainly, and the log says so.

    Args:
        network: Moved and cast already; itself it stays as it is.
        backend: What ``torch.compile`` hands graphs to.
    """
    from torch._dynamo import config  # a second to import, for those who compile
    from torch._dynamo.exc import TorchDynamoException

    twin = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for part in twin.modules():
        if isinstance(part, TMSA):
            part.compile(dynamic=False, backend=backend)
        elif isinstance(part, Stage) and part.hops:
            # the deformable convolution stays plain: its compiled sampling made passes on a CPU half as long again
            part.pa_fuse.compile(dynamic=False, backend=backend)

    works = True

    def run(*args: Any, **options: Any) -> Tensor:
        nonlocal works
        # the limits hold for one thread, so each call sets them; cache_size_limit is their name in every version
        with config.patch(cache_size_limit=_MOST_PROGRAMS, accumulated_cache_size_limit=_MOST_PROGRAMS):
            try:
                return (twin if works else network)(*args, **options)
            except TorchDynamoException as error:
                works, reason = False, " ".join(str(error).strip().partition("\n\n")[0].split())
                _log.warning("cannot compile, so the network runs as it is: %s", reason)
        return network(*args, **options)

    return run
