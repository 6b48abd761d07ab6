"""C text to a loaded shared object: the system's compiler, once for each text, kept in a cache.

The name of a cached file is a hash of the text, the flags, the compiler and the processor, so that nothing stale and
nothing built for another machine is ever loaded. A file appears under its name only when it is whole, so any number of
processes may build the same text at once. A cache that cannot be written costs a compilation a process, no more.

    CC            the compiler; otherwise cc, gcc or clang, whichever is found first
    DOTOPT_CACHE  the folder; otherwise dotopt in XDG_CACHE_HOME or ~/.cache
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from dotopt.grammar import cache as cache_files

# Vector code for this very processor, with IEEE arithmetic: no product is fused with a sum and nothing is reordered, so
# that all compilers give the same bits. errno and floating-point traps, which two of the flags give up, are not values.
LIMIT = 60.0  # seconds that the compiler gets; a kernel takes a tenth of one

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
    """The compiler is missing, refused the text, did not end, or made something that cannot be loaded."""


def compiler() -> str | None:
    """The path of the C compiler, if there is one."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def load(text: str, *symbols: str) -> ctypes.CDLL:
    """The shared object made from `text`, which has `symbols`; raises `BuildError` if it cannot be made."""
    path = compiler()
    if path is None:
        raise BuildError("no C compiler was found (looked for $CC, cc, gcc, clang)")
    flags = (*FLAGS, _native(), "-lm")
    name = _digest(text, path, flags) + ".so"
    folder = cache_folder()
    if folder is not None:
        cached = _opened(folder / name, symbols)
        if cached is not None:
            return cached
        if _build(text, path, flags, folder / name):
            loaded = _opened(folder / name, symbols)
            if loaded is not None:
                return loaded
    with tempfile.TemporaryDirectory(prefix="dotopt-") as place:  # a loaded object outlives its file
        if not _build(text, path, flags, Path(place) / name):
            raise BuildError(f"no room to build a kernel, neither in {folder} nor in {place}")
        loaded = _opened(Path(place) / name, symbols)
        if loaded is None:
            raise BuildError(f"{path} made a kernel that this machine cannot load")
        return loaded


def cache_folder() -> Path | None:
    """The folder of built kernels, private to the user; None if there is none that can be trusted."""
    return cache_files.folder()


def _opened(path: Path, symbols: Sequence[str]) -> ctypes.CDLL | None:
    """The shared object at `path`, if it is there, for this machine, and has `symbols`."""
    if not cache_files.trusted(path):
        return None
    try:
        found = ctypes.CDLL(str(path))
    except OSError:
        return None
    return found if all(hasattr(found, symbol) for symbol in symbols) else None


_hung: set[str] = set()  # compilers that did not end: nobody waits for one twice


def _build(text: str, compiler: str, flags: tuple[str, ...], target: Path) -> bool:
    """Compile `text` to `target`, whole or not at all; False if the folder takes no files."""
    if compiler in _hung:
        raise BuildError(f"{compiler} did not end within {LIMIT:g} seconds before")
    try:
        handle, unfinished = tempfile.mkstemp(prefix=target.stem[:8], suffix=".tmp", dir=target.parent)
    except OSError:
        return False
    os.close(handle)
    try:
        command = [compiler, "-x", "c", "-", "-o", unfinished, *flags]
        code, said = _run(command, text)
        if code != 0:
            if "No space left" in said:
                return False
            raise BuildError(f"{compiler} refused a kernel:\n{said.strip()[:2000]}")
        os.replace(unfinished, target)
        return True
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError) and error.filename == compiler:
            raise BuildError(f"{compiler} could not be run: {error}") from error
        return False
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)


def _run(command: Sequence[str], text: str) -> tuple[int, str]:
    """The exit code of a compiler and what it says; raises `BuildError` if it does not end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as job:
        try:
            _, said = job.communicate(text.encode(), timeout=LIMIT)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)  # the compiler is several processes
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            _hung.add(command[0])
            raise BuildError(f"{command[0]} did not end within {LIMIT:g} seconds") from None
        return job.returncode, said.decode(errors="replace")


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
