"""Print the size of an environment on disk, part by part: what a user of calzoo must install.

python benchmarks/size.py .venv-light
"""

import sys
from pathlib import Path

LIMIT_MB = 350
SHOWN = 8


def main(environment):
    """Print the largest packages and the sum; return 1 if it is above the limit."""
    root = Path(environment)
    sizes = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            part = package_of(path.relative_to(root))
            sizes[part] = sizes.get(part, 0) + path.stat().st_size / 1e6
    largest = sorted(sizes, key=sizes.get, reverse=True)
    for name in largest[:SHOWN]:
        print(f"{sizes[name]:8.1f} MB  {name}")
    print(f"{sum(sizes[name] for name in largest[SHOWN:]):8.1f} MB  {len(largest) - SHOWN} others")
    total = sum(sizes.values())
    print(f"{total:8.1f} MB  {environment}, limit {LIMIT_MB} MB")
    return int(total > LIMIT_MB)


def package_of(path):
    """Return the package that a file of an environment belongs to."""
    parts = path.parts
    if "site-packages" not in parts:
        return parts[0]
    name = parts[parts.index("site-packages") + 1]
    return name.split("-")[0].split(".")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
