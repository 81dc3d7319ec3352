"""Tiny models with random weights, the real vspipe, and clips from tensors."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import vapoursynth as vs

from tests.helpers.weights import TINY_CONFIG
from tests.vs.helpers import core
from vrt_core import ModelCard, build_network
from vrt_core.models import save_weights
from vs_plugin.frames import write_frame

ROOT = Path(__file__).parents[2]
VSPIPE = Path(vs.__file__).with_name("vspipe")  # the script of this name in a venv is a wrapper that hides signals
CUT = 6

SCRIPT = """
import numpy as np
import vapoursynth as vs
from vsvrt import restore

pixels = np.load(r"{pixels}")
T, _, H, W = pixels.shape

def fill(n, f):
    frame = f.copy()
    for plane in range(3):
        np.copyto(np.asarray(frame[plane]), pixels[n, plane])
    if n == {cut}:
        frame.props["_SceneChangePrev"] = 1
    return frame

blank = vs.core.std.BlankClip(None, W, H, vs.RGBS, T, keep=True)
clip = vs.core.std.ModifyFrame(blank, blank, fill)
options = dict(window=4, overlap=2, device="cpu", tile=0, cuts="props")
{restoring}
"""


@dataclass
class Pipe:
    """Runs vspipe in a configuration of its own."""

    env: dict[str, str]

    def __call__(self, script: Path, *options: str, out: str = "-") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([str(VSPIPE), *options, str(script), out], env=self.env, capture_output=True, timeout=300)

    def start(self, script: Path, *options: str) -> subprocess.Popen[bytes]:
        """Run it in the background; its frames and messages are in ``stdout`` and ``stderr``."""
        command = [str(VSPIPE), *options, str(script), "-"]
        # A program that a shell starts in the background ignores SIGINT, and so do its child processes.
        return subprocess.Popen(
            command,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @classmethod
    def configured(cls, folder: Path) -> "Pipe":
        """A vspipe that uses this Python and this checkout, whatever the user has installed or configured."""
        (folder / "vsvrt").symlink_to(ROOT / "vs_plugin", target_is_directory=True)
        env = {**os.environ, "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        subprocess.run([sys.executable, "-m", "vapoursynth", "config"], env=env, check=True, capture_output=True)
        return cls(env)


def make_models(folder: Path) -> dict[str, Path]:
    """Random weights, by task."""
    paths = {}
    for task, scale in (("deblur", 1), ("denoise", 1), ("sr", 2), ("interpolate", 1)):
        config = {**TINY_CONFIG, "upscale": scale, "nonblind_denoising": task == "denoise"}
        if task == "interpolate":
            config["pa_frames"] = 0
        torch.manual_seed(scale)
        network = build_network(**config)
        for parameter in network.parameters():  # the initial weights would hardly change the clip
            torch.nn.init.normal_(parameter, std=0.1)
        card = ModelCard(name=f"tiny-{task}", task=task, scale=scale, config=config, window_frames=4, overlap_frames=2)
        paths[task] = folder / f"tiny-{task}.safetensors"
        save_weights(paths[task], network.state_dict(), card=card)
    return paths


def raw_frames(raw: bytes, num_frames: int, height: int, width: int) -> np.ndarray:
    """Frames of RGBS that vspipe writes without a container, as planes G, B, R; returned as R, G, B."""
    planes = np.frombuffer(raw, np.float32).reshape(num_frames, 3, height, width)
    return planes[:, [2, 0, 1]]


def as_clip(frames: torch.Tensor, vs_format: int, *, cuts: tuple[int, ...] = ()) -> vs.VideoNode:
    """A clip of these frames, (T, C, H, W), with properties that mark the cuts."""
    T, _, H, W = frames.shape
    blank = core.std.BlankClip(None, W, H, vs_format, T, keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        return write_frame(frames[n], f.format, {**f.props, **({"_SceneChangePrev": 1} if n in cuts else {})})

    return core.std.ModifyFrame(blank, blank, fill)
