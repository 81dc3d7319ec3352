"""Jobs on a real Ray cluster of this machine; `make test-ray` installs Ray and runs them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.video_files import make_video
from tests.jobs.jobs import SIZE
from vrt_core import load_restorer
from vrt_jobs.cluster_plan import Resources
from vrt_jobs.cluster_ray import RayCluster
from vrt_media.clip import MediaError

pytest.importorskip("ray", reason="needs Ray: make test-ray")

ROOT = Path(__file__).parents[2]
MODEL = ("-m", "denoise-fast", "--sigma", "20", "--segment-frames", "16")
TIMEOUT_SECONDS = 240


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "vrt_cli.main", "restore", *map(str, words), *MODEL]


def restore(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=ROOT, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, **options
    )


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{"):
            yield json.loads(line)


def workers_of(driver: int) -> list[int]:
    """Processes of the actors of a local cluster, which its processes started; as /proc shows them."""
    processes: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                processes[int(path.name)] = parent, (path / "cmdline").read_text()
            except (OSError, IndexError):
                continue

    def descends(process: int) -> bool:
        while process in processes and process != driver:
            process = processes[process][0]
        return process == driver

    return [n for n, (_, words) in processes.items() if "ray::_Actor" in words and descends(n)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    return make_video(folder / "in.mkv", codec="libx264", num_frames=72, size=SIZE, audio=True)


@pytest.fixture(scope="module")
def whole(clip: Path) -> bytes:
    """The file of one process."""
    out = clip.with_name("whole.mkv")
    assert restore(clip, "-o", out).returncode == 0
    return out.read_bytes()


def test_the_file_is_that_of_one_process(tmp_path: Path, clip: Path, whole: bytes) -> None:
    """Also without the input in sight: a path of this process leads nowhere in another one."""
    out = tmp_path / "out.mkv"
    with clip.open("rb") as file:
        path_of_this_process = f"/proc/self/fd/{file.fileno()}"
        done = restore(path_of_this_process, "-o", out, "--ray", "local", "--workers", "1", pass_fds=[file.fileno()])
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == whole
    lines = done.stderr.splitlines()
    assert lines[0].startswith("denoise-fast on 1 worker (cpu)")
    assert any(line.startswith("dashboard: http://") for line in lines)
    assert sum("cannot see the input; it is passed on" in line for line in lines) == 1
    assert len(lines) == 4, "Ray says nothing itself"
    assert done.stdout == ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_worker_is_killed_in_the_middle(tmp_path: Path, clip: Path, whole: bytes) -> None:
    out = tmp_path / "out.mkv"
    words = command(clip, "-o", out, "--ray", "local", "--workers", "1", "--json")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        parsed = []
        for event in events(process):
            parsed.append(event)
            if event["type"] == "segment" and event["index"] == 1:
                (worker,) = workers_of(process.pid)
                os.kill(worker, signal.SIGKILL)
        assert process.wait(TIMEOUT_SECONDS) == 0, parsed
    assert any("was lost, it is started again" in e["message"] for e in parsed if e["type"] == "warning")
    assert out.read_bytes() == whole


def test_the_driver_is_killed(tmp_path: Path, clip: Path, whole: bytes) -> None:
    """The same command goes on, without workers here."""
    out = tmp_path / "out.mkv"
    words = command(clip, "-o", out, "--ray", "local", "--workers", "1", "--json")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for event in events(process):
            if event["type"] == "segment" and event["index"] == 1:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    done = restore(clip, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "going on after 32 finished frames" in done.stderr
    assert out.read_bytes() == whole


def test_ctrl_c_reaches_the_driver_alone(tmp_path: Path, clip: Path, whole: bytes) -> None:
    """Terminals send it to all processes in the foreground; workers must end their segments all the same."""
    out = tmp_path / "out.mkv"
    words = command(clip, "-o", out, "--ray", "local", "--workers", "1", "--json")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        parsed = []
        for event in events(process):
            parsed.append(event)
            if event["type"] == "segment" and event["index"] == 0:
                os.killpg(process.pid, signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 130, parsed
    messages = [event["message"] for event in parsed if "message" in event]
    assert "stopping after the segments in work; Ctrl-C again stops at once" in messages
    assert not any("was lost" in message for message in messages)
    num_frames = 16 * sum(event["type"] == "segment" for event in parsed)
    assert f"stopped: {num_frames} frames are in" in messages[-1]
    assert restore(clip, "-o", out).returncode == 0
    assert out.read_bytes() == whole


def test_there_is_no_cluster(tmp_path: Path, clip: Path) -> None:
    for address in ("127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"):
        done = restore(clip, "-o", tmp_path / "out.mkv", "--ray", address)
        assert done.returncode == 2
        assert done.stderr.startswith(f"vrt: --ray {address}: ")
        assert len(done.stderr.splitlines()) == 1
    done = restore(clip, "-o", tmp_path / "out.mkv", "--ray", "local", "--workers", "1000")
    assert done.returncode == 2
    assert "--workers 1000: the cluster has " in done.stderr


def test_a_worker_that_cannot_load_the_model_says_why(tmp_path: Path) -> None:
    """Weights that are on this machine alone."""
    cluster = RayCluster("local")
    try:
        load = partial(load_restorer, tmp_path / "none.safetensors")
        pool = cluster.start_pool(Resources(1, "cpu", 1, 0), load)
        with pytest.raises(MediaError, match=r"no worker could load the model: .*none\.safetensors"):
            pool.first_facts()
    finally:
        cluster.close()
