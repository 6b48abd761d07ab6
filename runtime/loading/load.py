"""From `.opt` files to classes: by path, from the standard library, and by composition."""

from __future__ import annotations

import builtins
import linecache
import sys
from functools import cache
from itertools import count
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from dotopt.grammar import given as files
from dotopt.grammar.files import catalogue, file_name, library_root
from dotopt.runtime.loading import cache as disk
from dotopt.runtime.loading import composition
from dotopt.runtime.loading.composition import Loaded, Origin

if TYPE_CHECKING:
    from dotopt.compiler.ir import Program
    from dotopt.compiler.text import syntax as s
    from dotopt.compiler.text.library import Library

_LOADING = RLock()  # of two threads that load a file, the second finds the class of the first

# ---- the public functions ------------------------------------------------------------------------------------------


def load(path: str | Path) -> ModuleType:
    """The module of a `.opt` file: its class, or its transform, is an attribute under its own name.

    Compiled once and kept on disk; runs no code from the file but the arithmetic that it states. Raises `OptError` if
    the file is broken, cannot be read, or uses what is not compiled yet (E601).
    """
    path = Path(path)
    resolved = str(path.resolve())
    with _LOADING:
        return _current(resolved, _content(path), "file")


def compile(path: str | Path, out: str | Path) -> None:
    """Write the module of a `.opt` file to `out`: readable Python that needs torch and dotopt.runtime only.

    That of a transform finds the file again, since it is compiled with the rule that it is put around.
    """
    from dotopt.compiler.emit.torch.optimizer import module, transform

    path = Path(path)
    file, library = _parsed(path)
    name = file.head.name
    if file.head.word == "transform":
        whole, root = path.resolve(), library_root().resolve()
        inside = root in whole.parents
        text = transform(
            file, ("library", str(whole.relative_to(root)), name) if inside else ("file", str(whole), name)
        )
    else:
        text = module(file, library)
    Path(out).write_text(text, encoding="utf-8")


def stdlib(name: str) -> Any:
    """The class or transform of the standard library with this name; raises AttributeError if there is none."""
    path = catalogue().get(file_name(name))
    if path is None:
        raise AttributeError(f"dotopt.stdlib has no `{name}`; `dotopt list` shows what there is")
    with _LOADING:
        module = _current(str(path), path.read_bytes(), "library")
    if not hasattr(module, name):
        raise AttributeError(f"dotopt.stdlib has no `{name}`; {path.name} defines {module.__all__[0]}")
    return getattr(module, name)


def unpickled(kind: str, place: Any, name: str, state: dict[str, Any]) -> Any:
    """An optimizer with this state, of the class that the origin names."""
    cls = named(kind, place, name)
    made = cls.__new__(cls)
    made.__setstate__(state)
    return made


def named(kind: str, place: Any, name: str) -> Any:
    """The class with this origin; raises `OptError` where it cannot be compiled."""
    match kind:
        case "file":
            return getattr(load(place), name)
        case "library":
            return stdlib(name)
        case _:
            with _LOADING:
                origin = (kind, place, name)
                known = composition.known(origin).values()
                held = composition.contents(origin) or {str(path): _content(path) for path in known}
                return _composed(origin, tuple(held.items()))


def program(origin: Origin, options: tuple[bool | str, ...], rank: int | None) -> Program:
    """The program of a class for one choice of options and rank, for backends that compile it themselves.

    Of the text that the class was loaded from, also where the file has been edited since. Kept on disk like the
    classes: finding it again loads no part of the compiler that reads `.opt` files.
    """
    with files.given(composition.contents(origin)):
        return _program(origin, options, rank)


def _program(origin: Origin, options: tuple[bool | str, ...], rank: int | None) -> Program:
    kind, place, _ = origin
    if kind == "composition":
        return _lowered(*_composition(origin), options, rank)
    from dotopt.runtime.loading import programs

    path = Path(place) if kind == "file" else library_root() / place

    def build() -> disk.Entry:
        file, library = _parsed(path)
        return _entry(programs.store(_lowered(file, library, options, rank)), library)

    content = f"{disk.digest(_content(path))} {options} {rank}"
    return programs.restore(disk.fetch(disk.key(content.encode(), f"program {path}"), build).text)


def _entry(text: str, library: _Recorder) -> disk.Entry:
    return disk.Entry(text, {str(used): disk.digest(files.content(used)) for used in library.used})


def _lowered(file: s.File, library: Library, options: tuple[bool | str, ...], rank: int | None) -> Program:
    from dotopt.compiler.analysis.grouped import grouped
    from dotopt.compiler.emit.torch.windows import accumulated
    from dotopt.compiler.lower import Static, lower

    declared = lower(file, Static({}, rank), library).options
    given = {option.name: value for option, value in zip(declared, options, strict=True)}
    return accumulated(grouped(lower(file, Static(given, rank), library)))


# ---- transforms ----------------------------------------------------------------------------------------------------


class Transform:
    """A rule around another: called with an optimizer class, it gives the class of the composed rule.

    >>> from dotopt.stdlib import Lion, Lookahead
    >>> Lookahead(Lion).__name__
    'LookaheadLion'
    """

    def __init__(self, name: str, doc: str, origin: Origin) -> None:
        self.__name__ = name
        self.__doc__ = doc
        self.origin = origin

    def __call__(self, base: Any, **defaults: float) -> Any:
        """The composed class; `defaults` replace those of the transform. Raises TypeError if `base` has no `.opt`
        file.
        """
        origin = getattr(base, "origin", None)
        if origin is None or not isinstance(base, type):
            raise TypeError(f"{self.__name__} takes an optimizer class compiled from a `.opt` file, not {base!r}")
        return named(*composition.composed(self.origin, origin, defaults))

    def __repr__(self) -> str:
        return f"<transform {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return named, self.origin


# ---- compiling -----------------------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        return files.content(path)
    except OSError:
        from dotopt.compiler.text.read import read

        read(path)  # raises the diagnostic
        raise


def _current(path: str, content: bytes, kind: str) -> ModuleType:
    """The module of the file at `path`, which has this content, and whose other files hold what they held when it was
    loaded.
    """
    return next(made for time in count() if _unchanged(made := _loaded(path, content, kind, time)))


def _unchanged(module: ModuleType) -> bool:
    try:
        return all(files.content(used) == held for used, held in module.__dict__["uses"].items())
    except OSError:
        return False


@cache
def _loaded(path: str, content: bytes, kind: str, time: int = 0) -> ModuleType:
    """The module of the file at `path`, which has this content; `time` counts how often its other files changed."""
    place, digest = Path(path), disk.digest(content)
    name = disk.key(digest.encode(), f"{kind} {place.parent if kind == 'file' else ''} {place.name}")
    entry = disk.fetch(name, lambda: _built(place, kind))
    made = _executed(
        entry.text, f"dotopt.compiled.{place.stem}_{name[:8]}", "dotopt.stdlib" if kind == "library" else ""
    )
    uses = {used: files.content(used) for used in entry.uses}
    made.__dict__["uses"] = uses
    return _remembering(made, {path: content} | uses)


def _remembering(module: ModuleType, contents: dict[str, bytes]) -> ModuleType:
    """The module; what it exports knows the contents of the files that it was made from."""
    for exported in module.__all__:
        value = getattr(module, exported)
        if getattr(value, "origin", None) is not None:
            value.origin = Loaded(value.origin, contents)
    return module


def _built(path: Path, kind: str) -> disk.Entry:
    from dotopt.compiler.emit.torch.optimizer import module, transform

    file, library = _parsed(path)
    place = str(path) if kind == "file" else str(path.relative_to(library_root()))
    origin = (kind, place, file.head.name)
    text = transform(file, origin) if file.head.word == "transform" else module(file, library, origin)
    return _entry(text, library)


@cache
def _composed(origin: Origin, held: tuple[tuple[str, bytes], ...]) -> Any:
    """The class of a composition whose files hold this."""
    marks = "".join(disk.digest(content) for _, content in held)
    name = disk.key(repr(origin).encode(), marks)

    def build() -> disk.Entry:
        from dotopt.compiler.emit.torch.optimizer import module

        file, library = _composition(origin)
        return _entry(module(file, library, origin), library)

    with files.given(dict(held)):
        entry = disk.fetch(name, build)
        contents = dict(held) | {used: files.content(used) for used in entry.uses}
    made = _executed(entry.text, f"dotopt.compiled.composition_{name[:8]}", "")
    return getattr(_remembering(made, contents), made.__all__[0])


def _composition(origin: Origin) -> tuple[s.File, _Recorder]:
    """The tree and the library of `rule X = A(B)`."""
    from dotopt.compiler.parse import parse
    from dotopt.compiler.text.source import Source

    known = composition.known(origin)
    text = f"rule {origin[2]} = {composition.text(origin)}\nuse {', '.join(known)}\n"
    return parse(Source(f"{origin[2]}.opt", text)), _recorder(tuple(path.parent for path in known.values()), known)


def _parsed(path: Path) -> tuple[s.File, _Recorder]:
    from dotopt.compiler.resolve import resolve
    from dotopt.compiler.text.library import load as parsed
    from dotopt.compiler.text.read import read

    if not files.there(path):
        read(path)  # raises the diagnostic
    return resolve(parsed(path)).file, _recorder((path.parent,), {})


def _recorder(folders: tuple[Path, ...], known: dict[str, Path]) -> _Recorder:
    """A library that notes what was taken from it, knows some names by their path, and searches several folders."""
    from dotopt.compiler.text.library import Library

    class Recorder(Library):
        """Notes the files that a rule is made of."""

        def __init__(self) -> None:
            super().__init__()
            self.used: set[Path] = set()

        def find(self, name: str) -> Path | None:
            beside = (folder / file_name(name) for folder in folders)
            path = known.get(name) or next(filter(files.there, beside), None) or super().find(name)
            if path is not None:
                self.used.add(path)
            return path

    return cast("_Recorder", Recorder())


if TYPE_CHECKING:

    class _Recorder(Library):
        used: set[Path]


def _executed(text: str, name: str, home: str) -> ModuleType:
    """The module `name` made of `text`; its classes say that they live in `home`."""
    module = ModuleType(name)
    module.__file__ = f"<{name}>"
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(keepends=True), module.__file__)
    sys.modules[name] = module
    exec(builtins.compile(text, module.__file__, "exec"), module.__dict__)
    for exported in module.__all__:
        value = getattr(module, exported)
        if home and isinstance(value, type):
            value.__module__ = home
    return module
