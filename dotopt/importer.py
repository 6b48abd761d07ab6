"""`import dotopt.importer`: from here on `import lion` finds `lion.opt` on `sys.path`."""

from dotopt.runtime.loading.importer import OptFinder, OptLoader, install

__all__ = ["OptFinder", "OptLoader", "install"]
