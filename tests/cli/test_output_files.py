"""What `vrt restore` writes, and what it leaves alone: inputs, parts of other jobs, an output that it cannot finish."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_stopping import failing_restorer, start, stop
from tests.helpers.identity import identity_restorer
from tests.helpers.image_files import read_image_file, write_image_file
from tests.helpers.video_files import make_video, picture, read_planes
from tests.helpers.vrt_restore import VrtRestore
from vrt_jobs import segments
from vrt_jobs.disk import DurableFile
from vrt_media.clip import MediaError
from vrt_media.part_file import PartFile


def join(vrt: VrtRestore, out: Path) -> Path:
    """Join what a job that ended early has finished; return the file or folder."""
    result = vrt.run("join", f"{out}.vrt")
    assert result.exit_code == 0, result.stderr
    return out.with_name(f"{out.stem}.part{out.suffix}")


# --- names that exist already ---


def test_an_input_with_the_name_of_the_part_survives(tmp_path: Path, vrt: VrtRestore) -> None:
    clip = make_video(tmp_path / "clip.part.mkv")
    before = clip.read_bytes()
    assert vrt(clip, "-o", tmp_path / "clip.mkv").exit_code == 0
    assert clip.read_bytes() == before
    assert len(read_planes(tmp_path / "clip.mkv")) == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mkv", "clip.part.mkv"]


def test_the_part_of_another_job_survives(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, part, target = make_video(tmp_path / "in.mkv"), tmp_path / "out.part.mkv", tmp_path / "precious.mkv"
    target.write_bytes(b"precious")
    part.symlink_to(target)
    assert vrt(clip, "-o", tmp_path / "out.mkv").exit_code == 0
    assert part.is_symlink()
    assert target.read_bytes() == b"precious"


def test_two_jobs_with_one_output_write_two_files(tmp_path: Path) -> None:
    first, second = PartFile(tmp_path / "out.mkv"), PartFile(tmp_path / "out.mkv")
    assert first.path.name == "out.part.mkv"
    assert second.path.name == "out.part2.mkv"
    first.write(b"1")
    second.write(b"2")
    second.publish(overwrite=False)
    with pytest.raises(MediaError, match=r"out\.mkv appeared while the job ran; the result is in .*out\.part\.mkv"):
        first.publish(overwrite=False)
    assert ((tmp_path / "out.mkv").read_bytes(), first.path.read_bytes()) == (b"2", b"1")
    first.publish(overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]


@pytest.mark.parametrize("stem", ["n" * 251, "é" * 125, "漢" * 83])
def test_the_longest_names_have_parts(tmp_path: Path, vrt: VrtRestore, stem: str) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=2), tmp_path / f"{stem}.mkv"
    assert vrt(clip, "-o", out).exit_code == 0
    assert len(read_planes(out)) == 2


@pytest.mark.parametrize("factor", [1, 2])
def test_an_image_is_not_written_over_itself(tmp_path: Path, vrt: VrtRestore, factor: int) -> None:
    clip = write_image_file(tmp_path / "000000.png", picture(0))
    restorer = identity_restorer(interpolates=factor == 2)
    for output in (tmp_path, f"{tmp_path}/", clip):
        result = vrt(clip, "-o", output, "-y", restorer=restorer)
        assert result.exit_code == 1
        assert "is the input" in result.stderr
    assert (read_image_file(clip) == picture(0)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["000000.png"]


def test_an_image_of_the_input_folder_is_not_replaced(tmp_path: Path, vrt: VrtRestore) -> None:
    write_image_file(tmp_path / "a.png", picture(0))
    assert "is the input" in vrt(tmp_path, "-o", tmp_path / "a.png", "-y").stderr
    assert (read_image_file(tmp_path / "a.png") == picture(0)).all()


def test_images_of_one_stem_get_two_names(tmp_path: Path, vrt: VrtRestore) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for n, name in enumerate(("a.png", "a.tif", "A.tiff", "a.png.tif", "b.png")):
        write_image_file(folder / name, picture(n))
    assert vrt(folder, "-o", out).exit_code == 0
    assert len(list(out.iterdir())) == 5
    assert (out / "b.png").exists()


# --- an old output, and a run that does not come to its end ---


def folder_of_images(folder: Path, num_images: int) -> Path:
    folder.mkdir()
    for n in range(num_images):
        write_image_file(folder / f"{n}.png", picture(n))
    return folder


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_a_failure_leaves_the_old_output(tmp_path: Path, vrt: VrtRestore, name: str) -> None:
    clip, out = make_video(tmp_path / "in.mkv"), tmp_path / name
    out.write_bytes(b"old")
    result = vrt(clip, "-o", out, "-y", restorer=failing_restorer(7))
    assert out.read_bytes() == b"old"
    assert f"failed: 7 frames are in {out}.vrt; the same command goes on" in result.stderr
    assert len(read_planes(join(vrt, out))) == 7
    assert out.read_bytes() == b"old"


def test_a_failure_leaves_the_old_images(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = folder_of_images(tmp_path / "in", 4), folder_of_images(tmp_path / "out", 4)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    result = vrt(clip, "-o", out, "-y", restorer=failing_restorer(2))
    assert f"failed: 2 frames are in {out}.vrt" in result.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert len(list(join(vrt, out).iterdir())) == 2
    assert vrt(clip, "-o", out, "-y").exit_code == 0
    assert len(list(out.iterdir())) == 4


def test_images_are_replaced_at_the_end(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = folder_of_images(tmp_path / "in", 3), folder_of_images(tmp_path / "out", 4)
    assert vrt(clip, "-o", out, "-y", restorer=identity_restorer(scale=2)).exit_code == 0
    sizes = [read_image_file(out / f"{n}.png").shape[:2] for n in range(4)]
    assert sizes == [(96, 128)] * 3 + [(48, 64)]
    assert len(list(out.iterdir())) == 4


def test_ctrl_c_leaves_the_old_output(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=60), tmp_path / "out.mkv"
    out.write_bytes(b"old")
    process = start(clip, "-o", out, "-y", pause_at=20)
    messages = stop(process, signal.SIGINT)
    assert out.read_bytes() == b"old"
    assert f"stopped: 32 frames are in {out}.vrt; the same command goes on" in messages
    assert len(read_planes(join(vrt, out))) == 32


def test_an_output_that_appears_meanwhile_is_left_alone(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = make_video(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    result = vrt(clip, "-o", out, restorer=identity_restorer(before_pass=lambda n: out.write_bytes(b"new")))
    assert result.exit_code == 1
    assert f"{out} appeared while the job ran" in result.stderr
    assert out.read_bytes() == b"new"
    assert len(read_planes(tmp_path / "out.mkv.vrt" / "out.part.mkv")) == 12
    assert vrt(clip, "-o", out, "-y", restorer=failing_restorer(0)).exit_code == 0  # the segments are joined again
    assert len(read_planes(out)) == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


@pytest.mark.parametrize("fails_at_join", [False, True])
def test_a_full_disk_costs_nothing(tmp_path: Path, vrt: VrtRestore, full_disk: Callable, fails_at_join: bool) -> None:
    clip, out = make_video(tmp_path / "in.mkv", num_frames=40), tmp_path / "out.mkv"
    give_back = full_disk(PartFile if fails_at_join else DurableFile, max_bytes=20_000)
    passes: list[int] = []
    result = vrt(clip, "-o", out, "--codec", "ffv1", restorer=identity_restorer(before_pass=passes.append))
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert not out.exists()
    num_finished = 40 if fails_at_join else 0  # the frames of the segment in work do not fit either
    assert (f"failed: {num_finished} frames are in {out}.vrt" if fails_at_join else "vrt: ") in result.stderr
    assert Path(f"{out}.vrt").exists() == fails_at_join
    give_back()
    passes.clear()
    assert vrt(clip, "-o", out, "--codec", "ffv1", restorer=identity_restorer(before_pass=passes.append)).exit_code == 0
    assert len(passes) == 40 - num_finished
    assert len(read_planes(out)) == 40
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Return a function that limits the bytes of all files of a kind, and returns one that ends that."""

    def limit(kind: type, max_bytes: int) -> Callable:
        write, written = kind.write, [0]

        def write_some(self: Any, data: bytes) -> int | None:
            written[0] += len(data)
            if written[0] > max_bytes:
                error = OSError(28, "No space left on device", str(getattr(self, "path", "")))
                self.error = error
                raise error
            return write(self, data)

        monkeypatch.setattr(kind, "write", write_some)
        return lambda: monkeypatch.setattr(kind, "write", write)

    return limit


# --- what was read before an error ---


def test_frames_before_a_change_of_size_are_restored(tmp_path: Path, vrt: VrtRestore) -> None:
    clip, out = tmp_path / "in.ts", tmp_path / "out.mkv"
    sizes = ((48, 64), (64, 80))
    parts = [make_video(tmp_path / f"{h}.ts", codec="libx264", num_frames=24, size=(h, w)) for h, w in sizes]
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = vrt(clip, "-o", out, restorer=identity_restorer(window=10))
    assert result.exit_code == 1
    assert "80x64 pixels, those before it 64x48" in result.stderr
    assert f"failed: 24 frames are in {out}.vrt" in result.stderr
    assert len(read_planes(join(vrt, out))) == 24


def test_images_before_a_broken_one_are_restored(tmp_path: Path, vrt: VrtRestore) -> None:
    folder, out = folder_of_images(tmp_path / "in", 5), tmp_path / "out"
    (folder / "3.png").write_bytes(b"broken")
    result = vrt(folder, "-o", out, restorer=identity_restorer(window=4))
    assert result.exit_code == 1
    assert f"failed: 3 frames are in {out}.vrt" in result.stderr
    assert sorted(p.name for p in join(vrt, out).iterdir()) == ["0.png", "1.png", "2.png"]


def test_an_image_that_does_not_fit_is_not_kept(
    tmp_path: Path, vrt: VrtRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out, encode = folder_of_images(tmp_path / "in", 4), tmp_path / "out", segments.encode_image
    numbers = iter(range(4))

    def fail_at_two(*arguments: Any) -> bytes:
        if next(numbers) == 2:
            raise OSError(28, "No space left on device")
        return encode(*arguments)

    monkeypatch.setattr(segments, "encode_image", fail_at_two)
    result = vrt(clip, "-o", out)
    assert result.exit_code == 1
    assert f"failed: 2 frames are in {out}.vrt" in result.stderr
    assert sorted(path.name for path in join(vrt, out).iterdir()) == ["0.png", "1.png"]
