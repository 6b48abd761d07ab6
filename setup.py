"""Which folders the packages are made of; everything else stands in pyproject.toml.

`dotopt/` holds links to `compiler/`, `grammar/`, `runtime/` and `stdlib/`. A checkout without symbolic links (a ZIP,
git with core.symlinks=false, Windows) has small text files in their place: there the packages are made of the folders.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PARTS = ("compiler", "grammar", "runtime", "stdlib")


def packages() -> dict[str, str]:
    """Every package, and the folder that it is made of."""
    found = {"dotopt": "dotopt"}
    for part in PARTS:
        if not (HERE / part / "__init__.py").is_file():
            raise SystemExit(f"dotopt cannot be built: neither dotopt/{part} nor {part} is a folder of modules here")
        found[f"dotopt.{part}"] = part
        below = find_packages(str(HERE / part))
        found |= {f"dotopt.{part}.{name}": f"{part}/{name.replace('.', '/')}" for name in below}
    return found


if all((HERE / "dotopt" / part).is_dir() for part in PARTS):
    # Naming the root makes an editable install a plain path entry: with the import hook that setuptools takes
    # otherwise, a script beside a checkout called `dotopt` would import that folder as an empty namespace package.
    setup(packages=find_packages(str(HERE), include=["dotopt", "dotopt.*"]), package_dir={"": "."})
else:
    setup(packages=list(packages()), package_dir=packages())
