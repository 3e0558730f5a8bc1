"""Show the released networks.

One line per preset: its name, what it is for, its task, the size of its files
for ONNX Runtime, where they lie, and the licence. 'calzoo info NAME' says more.
"""

GROUP = "presets"


def add_arguments(parser):
    """Add nothing: the list is short."""


def run(args):
    """Print one line per preset."""
    from calzoo.weights.registry import presets

    rows = [("name", "for", "task", "size", "files", "licence")]
    for preset in presets().values():
        size = sum(file.size for file in preset.files.values()) / 2**20
        places = sorted({_place(file) for file in preset.files.values()})
        rows.append(
            (preset.name, preset.alias, preset.task, f"{size:.1f} MB", ", ".join(places), preset.licence)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _place(file):
    return {"wheel": "installed", "checkout": "repository"}.get(file.where, "download")
