"""Unlabelled photos → a pool of photos with first masks.

A pool is a folder, or an uncompressed tar archive of its files:

    NNNNNN.jpg      a photo, its shorter side at most 176 pixels
    NNNNNN.png      its labels: 0 background, 1 to 5 objects; smaller, of the same aspect
    quality.json    {"NNNNNN": 0 to 1}, how good the labels are

While a folder is being made, `journal.jsonl` in it says what became of every photo: the same command goes on where it
was cut off. `tar -cf pool.tar -C POOL .` makes an archive to carry to another machine.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

# Before the libraries are loaded: no larger pictures, and a thread per process for NumPy.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy as np

import masks

SHORT_SIDE = 176
"""Of the photos kept, in pixels, at most; smaller ones stay as they are."""
SMALLEST_SIDE, LONGEST_ASPECT = 48, 2.2
"""Photos smaller or longer than this are left out."""
LARGEST_FILE = 64 << 20
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def decode(data: bytes, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """RGB `[H, W, 3]`, or grey `[H, W]`; None where it is no picture."""
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return picture if picture is None or picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """An RGB or grey picture as `.jpg` or `.png`."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else [])[1].tobytes()


class Pool:
    """Reads a pool; safe to use from several processes at once."""

    def __init__(self, path: Path, min_quality: float = 0.0):
        """Photos whose labels are worse than `min_quality` are left out."""
        self._files: dict[str, tuple[Path, int, int]] = {}
        if path.is_dir():
            for file in path.iterdir():
                self._files[file.name] = file, 0, -1
        else:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        self._files[PurePosixPath(member.name).name] = path, member.offset_data, member.size
        if "quality.json" not in self._files:
            raise ValueError(f"{path}: quality.json is missing: it is no pool, or one that is not complete")
        quality: dict[str, float] = json.loads(self._read("quality.json"))
        kept = (name for name, value in quality.items() if value >= min_quality and f"{name}.jpg" in self._files)
        self.names = sorted(kept)
        self.quality = quality

    def __len__(self) -> int:
        return len(self.names)

    def jpeg(self, index: int) -> bytes:
        return self._read(f"{self.names[index]}.jpg")

    def photo(self, index: int) -> np.ndarray:
        """RGB uint8 `[H, W, 3]`."""
        return self._picture(f"{self.names[index]}.jpg", cv2.IMREAD_COLOR)

    def labels(self, index: int) -> np.ndarray:
        """uint8 `[h, w]`, as they are stored."""
        return self._picture(f"{self.names[index]}.png", cv2.IMREAD_GRAYSCALE)

    def _picture(self, name: str, flags: int) -> np.ndarray:
        picture = decode(self._read(name), flags)
        if picture is None:
            raise ValueError(f"{name} of the pool is no picture")
        return picture

    def _read(self, name: str) -> bytes:
        path, start, size = self._files[name]
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(size)


class PoolWriter:
    """Makes a pool in a folder; what is already there stays."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.quality: dict[str, float] = {}
        self.done: set[str] = set()
        """Photos that something is known of, by the name they came with."""
        journal = folder / "journal.jsonl"
        text = journal.read_bytes() if journal.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]  # a last line that was cut off is dropped
        for line in whole.splitlines():
            self._count(json.loads(line))
        self._journal = open(journal, "ab")
        self._journal.truncate(len(whole))

    def next_name(self) -> str:
        return f"{len(self.quality):06}"

    def keep(self, photo: str, name: str, jpeg: bytes, labels: np.ndarray, quality: float) -> None:
        """Adds a photo that came as `photo` under its `name` in the pool."""
        (self.folder / f"{name}.jpg").write_bytes(jpeg)
        (self.folder / f"{name}.png").write_bytes(encode(labels, ".png"))
        self._note({"photo": photo, "name": name, "quality": round(quality, 3)})

    def skip(self, photo: str, reason: str) -> None:
        self._note({"photo": photo, "skipped": reason})

    def finish(self) -> None:
        """Makes the folder a pool of all that was kept so far."""
        partial = self.folder / "quality.json.partial"
        partial.write_text(json.dumps(self.quality))
        partial.replace(self.folder / "quality.json")

    def _note(self, entry: dict) -> None:
        self._journal.write(json.dumps(entry).encode() + b"\n")
        self._journal.flush()
        self._count(entry)

    def _count(self, entry: dict) -> None:
        self.done.add(entry["photo"])
        if "name" in entry:
            self.quality[entry["name"]] = entry["quality"]


def photos(path: Path) -> Iterator[tuple[str, bytes | str]]:
    """The photos of a folder, or of a tar or zip archive: name and content, or what is wrong with it."""

    def is_photo(name: str) -> bool:
        return PurePosixPath(name).suffix.lower() in SUFFIXES

    def content(size: int, read: Callable[[], bytes]) -> bytes | str:
        try:
            return read() if size <= LARGEST_FILE else f"{size} bytes (at most {LARGEST_FILE} are read)"
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
            return str(error)

    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if is_photo(file.name) and file.is_file():
                yield file.relative_to(path).as_posix(), content(file.stat().st_size, file.read_bytes)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if is_photo(entry.filename) and not entry.is_dir():
                    yield entry.filename, content(entry.file_size, lambda: archive.read(entry))
    else:
        with tarfile.open(path) as archive:
            for member in members(archive):
                if is_photo(member.name) and member.isfile():
                    yield member.name, content(member.size, lambda: archive.extractfile(member).read())


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Of an archive that was cut off, those before the cut."""
    try:
        yield from archive
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        print(f"{archive.name}: {error}: the rest of the archive is left out", file=sys.stderr)


def first_labels(photo: tuple[str, bytes | str]) -> tuple[str, str | tuple[bytes, np.ndarray, float]]:
    """Name, and JPEG, labels and quality, or why there are none."""
    name, data = photo
    if isinstance(data, str):
        return name, data
    rgb = decode(data)
    if rgb is None:
        return name, "is no picture that can be decoded"
    height, width = rgb.shape[:2]
    if min(height, width) < SMALLEST_SIDE or max(height, width) > LONGEST_ASPECT * min(height, width):
        return name, f"{width}x{height} pixels are too small or too long"
    scale = min(1.0, SHORT_SIDE / min(height, width))
    rgb = cv2.resize(rgb, (round(scale * width), round(scale * height)), interpolation=cv2.INTER_AREA)
    labels, quality = masks.first_mask(rgb)
    return name, (encode(rgb, ".jpg"), labels, quality)


def in_chunks(items: Iterable, length: int) -> Iterator[list]:
    """So that no more than a chunk is in memory, however slow what comes after is."""
    iterator = iter(items)
    while chunk := list(islice(iterator, length)):
        yield chunk


def digests(path: Path) -> set[bytes]:
    return {hashlib.sha256(data).digest() for _, data in photos(path) if isinstance(data, bytes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder, or a tar or zip archive, of photos")
    parser.add_argument("pool", type=Path, help="folder of the pool; one that is there is added to")
    parser.add_argument("--never", type=Path, help="photos that are not to be trained on: the same files are left out")
    parser.add_argument("--limit", type=int, help="only the first so many photos")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes [default: one per core]")
    arguments = parser.parse_args()

    writer = PoolWriter(arguments.pool)
    never = digests(arguments.never) if arguments.never else set()

    def wanted() -> Iterator[tuple[str, bytes | str]]:
        for number, (name, data) in enumerate(photos(arguments.photos)):
            if arguments.limit is not None and number >= arguments.limit:
                return
            if name in writer.done:
                continue
            if isinstance(data, bytes) and hashlib.sha256(data).digest() in never:
                data = "is one of --never"
            yield name, data

    with multiprocessing.Pool(arguments.jobs, initializer=cv2.setNumThreads, initargs=(1,)) as workers:
        for chunk in in_chunks(wanted(), 64 * arguments.jobs):
            for name, result in workers.imap(first_labels, chunk, chunksize=8):
                if isinstance(result, str):
                    print(f"{name}: {result}", file=sys.stderr)
                    writer.skip(name, result)
                else:
                    writer.keep(name, writer.next_name(), *result)
            print(f"{len(writer.done)} photos", file=sys.stderr)
    writer.finish()
    good = sum(quality >= 0.35 for quality in writer.quality.values())
    print(
        f"{len(writer.done)} photos seen, {len(writer.quality)} kept, {good} of them with good masks: {arguments.pool}"
    )


if __name__ == "__main__":
    main()
