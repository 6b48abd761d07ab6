"""C text to a loaded shared object: the system's compiler, once for each text, kept in a cache.

The name of a cached file is a hash of the text, the flags, the compiler and the processor, so that nothing stale and
nothing built for another machine is ever loaded. A file appears under its name only when it is whole, so any number of
processes may build the same text at once. A cache that cannot be written costs a compilation a process, no more.

    CC            the compiler; otherwise cc, gcc or clang, whichever is found first
    DOTOPT_CACHE  the folder; otherwise dotopt in XDG_CACHE_HOME or ~/.cache
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from dotopt.grammar.files import cache_directory

# Vector code for this very processor, with IEEE arithmetic: no product is fused with a sum and nothing is reordered, so
# that all compilers give the same bits. errno and floating-point traps, which two of the flags give up, are not values.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fPIC",
    "-shared",
    "-fopenmp-simd",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
)


class BuildError(RuntimeError):
    """The compiler is missing, or refused the text."""


def compiler() -> str | None:
    """The path of the C compiler, if there is one."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def load(text: str) -> ctypes.CDLL:
    """The shared object made from `text`; raises `BuildError` if it cannot be made."""
    path = compiler()
    if path is None:
        raise BuildError("no C compiler was found (looked for $CC, cc, gcc, clang)")
    flags = (*FLAGS, _native(), "-lm")
    name = _digest(text, path, flags) + ".so"
    folder = cache_folder()
    if folder is not None:
        cached = _opened(folder / name)
        if cached is not None:
            return cached
        if _build(text, path, flags, folder / name):
            loaded = _opened(folder / name)
            if loaded is not None:
                return loaded
    with tempfile.TemporaryDirectory(prefix="dotopt-") as place:  # a loaded object outlives its file
        if not _build(text, path, flags, Path(place) / name):
            raise BuildError(f"no room to build a kernel, neither in {folder} nor in {place}")
        return ctypes.CDLL(str(Path(place) / name))


def cache_folder() -> Path | None:
    """The folder of built kernels, private to the user; None if it cannot be made."""
    folder = cache_directory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def _opened(path: Path) -> ctypes.CDLL | None:
    """The shared object at `path`, if it is there and whole."""
    if not path.exists():
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def _build(text: str, compiler: str, flags: tuple[str, ...], target: Path) -> bool:
    """Compile `text` to `target`, whole or not at all; False if the folder takes no files."""
    try:
        handle, unfinished = tempfile.mkstemp(prefix=target.stem[:8], suffix=".tmp", dir=target.parent)
    except OSError:
        return False
    os.close(handle)
    try:
        command = [compiler, "-x", "c", "-", "-o", unfinished, *flags]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            if "No space left" in done.stderr:
                return False
            raise BuildError(f"{compiler} refused a kernel:\n{done.stderr.strip()[:2000]}")
        os.replace(unfinished, target)
        return True
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError) and error.filename == compiler:
            raise BuildError(f"{compiler} could not be run: {error}") from error
        return False
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)


def _digest(text: str, compiler: str, flags: tuple[str, ...]) -> str:
    real = os.path.realpath(compiler)
    stamp = os.stat(real)
    parts = (text, real, str(stamp.st_size), str(stamp.st_mtime_ns), *flags, processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _native() -> str:
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"


@cache
def processor() -> str:
    """The model and the instruction sets of this machine's processor, as the system names them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part", "isa")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))
