"""Print the size of an environment on disk, part by part: what a user of calzoo must install.

The byte code that Python writes when a module is first imported is told beside it.

python benchmarks/size.py .venv-light
"""

import sys
from collections import Counter
from pathlib import Path

LIMIT_MB = 350
SHOWN = 8


def main(environment):
    """Print the largest packages and the sum; return 1 if it is above the limit."""
    root = Path(environment)
    sizes = Counter()
    byte_code = 0
    for path in root.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        size = path.stat().st_size / 1e6
        if path.suffix == ".pyc":
            byte_code += size
        else:
            sizes[package_of(path.relative_to(root))] += size
    shown = sizes.most_common(SHOWN)
    for name, size in shown:
        print(f"{size:8.1f} MB  {name}")
    print(f"{sizes.total() - sum(size for _, size in shown):8.1f} MB  {len(sizes) - len(shown)} others")
    print(f"{sizes.total():8.1f} MB  {environment}; limit {LIMIT_MB} MB; byte code {byte_code:.1f} MB more")
    return int(sizes.total() > LIMIT_MB)


def package_of(path):
    """Return the package that a file of an environment belongs to."""
    parts = path.parts
    if "site-packages" not in parts:
        return parts[0]
    name = parts[parts.index("site-packages") + 1]
    return name.split("-")[0].split(".")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
