"""Folders of simulated recordings that are drawn once, each marked with what draws the same again."""

from calzoo.errors import CalzooError


def claim(folder, pool, hint=""):
    """Mark a free folder as a pool, in ``pool.txt``, or find that it is this pool.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is not there.
    pool : str
        What the pool is: its kind, version and seed.
    hint : str, optional
        Sentence for those who gave something else.

    Raises
    ------
    CalzooError
        If the folder holds another pool, or something else.
    """
    mark = folder / "pool.txt"
    if mark.exists():
        other = mark.read_text(encoding="utf-8").strip()
        if other != pool:
            message = f"{folder}: expected a {pool}; got a {other}. Give an empty folder."
            raise CalzooError(message)
        return
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        message = (
            f"{folder}: expected a pool of simulated recordings or an empty folder, got something else, or "
            f"scenes without pool.txt, whose seed is not known. {hint}Give a pool or a new folder."
        )
        raise CalzooError(message)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(pool + "\n", encoding="utf-8")
