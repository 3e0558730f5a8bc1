"""Many recordings in one command: what is finished is skipped, a failure does not stop the rest."""

import json
import traceback
from pathlib import Path

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError
from calzoo.imaging.outputs import plain, refuse_inputs, source_facts

FINISHED = "run.json"  # written last into the folder of a result


def run_each(
    inputs,
    output,
    run_one,
    *,
    network=None,
    options=None,
    overwrite=False,
    results=lambda folder: [folder, folder / FINISHED],
):
    """Run one recording after the other.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        The recordings.
    output : pathlib.Path
        Folder of the result; of several recordings each gets a folder in it.
    run_one : callable
        Called with a recording and the folder of its result.
    network : str, optional
        The sha256 of the network, which a finished result must have come from.
    options : dict or callable, optional
        What was asked for, as "options" of run.json has it, which a finished result must be of; where
        recordings differ in it, what returns it, called with a recording.
    overwrite : bool, optional
        Do again what is finished.
    results : callable, optional
        Called with the folder of a result, returns what is written, the most important first and
        at the second place what tells how it was made: by default the folder and its run.json.

    Returns
    -------
    int
        0, or 1 if any failed.

    Raises
    ------
    CalzooError
        If a result would take the place of one of the recordings, or of what another one gets.
    """
    failed = 0
    folders = _folders(inputs, output)
    written = [results(folder) for folder in folders]
    _refuse_clashes(inputs, written)
    refuse_inputs([target for targets in written for target in targets], inputs)
    for path, folder, (result, record, *_) in zip(inputs, folders, written, strict=True):
        try:
            if not overwrite and _is_finished(path, result, record, network, options):
                tell(f"{path}: skipped, {result} is finished (--overwrite does it again)")
                continue
            run_one(path, folder)
        except (ModuleNotFoundError, BrokenPipeError):
            raise  # the next would fail in the same way
        except (CalzooError, OSError, MemoryError) as error:
            if len(inputs) == 1:
                raise
            tell(_named(path, error))
            failed += 1
        except Exception:
            if len(inputs) == 1:
                raise
            traceback.print_exc()
            tell(f"{path}: failed; please report the lines above")
            failed += 1
    if failed:
        tell(f"{failed} of {len(inputs)} failed")
    return 1 if failed else 0


def _refuse_clashes(inputs, written):
    """Refuse recordings of which two would write a file of the same name: a.valid.png of a and of a.valid."""
    of = {}
    for path, targets in zip(inputs, written, strict=True):
        for target in targets:
            other = of.setdefault(target, path)
            if other != path:
                message = (
                    f"expected inputs whose results have different names, got {other} and {path}, which "
                    f"would both write {target}; run them with different -o."
                )
                raise CalzooError(message)


def _named(path, error):
    """Return what went wrong with a recording, which most messages begin with."""
    text = str(error) or type(error).__name__
    return text if text.startswith(f"{path}:") else f"{path}: {text}"


def refuse_another(folder, path, recipe):
    """Refuse a folder that holds another result than the fit of a recipe to a movie.

    Parameters
    ----------
    folder : pathlib.Path
    path : path
        The movie. Its own fit may be done again.
    recipe : str
        Name of the recipe.

    Raises
    ------
    CalzooError
        If its run.json is of another input, or of something else than such a fit.
    """
    record = folder / FINISHED
    if not record.exists():
        return
    _, source, name = _told(record, "recipe", "name")
    if source == source_facts(path) and name == recipe:
        return
    message = (
        f"{folder}: expected a free folder, or one with an earlier fit of {path} by the recipe {recipe!r}, "
        f"got one whose {FINISHED} is of another input or another command; give another -o, or remove it."
    )
    raise CalzooError(message)


def finished(inputs, output):
    """Return (recording, folder of its result) of those that have one."""
    pairs = zip(inputs, _folders(inputs, output), strict=True)
    return [(path, folder) for path, folder in pairs if (folder / FINISHED).exists()]


def _is_finished(path, result, record, network, options):
    """Tell whether a result is there that `record` says to be this one; refuse another one."""
    if not (result.exists() and record.exists()):
        return False
    facts, source, sha256 = _told(record, "model", "sha256")
    what = None
    if source != source_facts(path):
        what = "another input"
    elif network is not None and sha256 != network:
        what = "another network"
    elif options is not None and "options" in facts:
        asked = options(path) if callable(options) else options
        other = _differing(plain(asked), facts["options"])
        what = other and f"other options ({', '.join(other)})"
    if what:
        message = f"{result} holds the result of {what}; give another -o, or replace it with --overwrite."
        raise CalzooError(message)
    return True


def _told(record, group, name):
    """Return what a run.json says: all of it, its input, and one more fact; nothing where one is missing."""
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        return facts, facts["source"], facts[group][name]
    except (ValueError, KeyError, TypeError):
        return {}, None, None


def _differing(first, second):
    """Return the names of options that differ; one that is absent is None."""
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def _folders(inputs, output):
    if len(inputs) == 1:
        return [output]
    stems = [stem_of(path) for path in inputs]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        message = (
            f"expected inputs of different names, as each gets a folder of its name in {output}; "
            f"got {', '.join(twice)} more than once. Run them with different -o."
        )
        raise CalzooError(message)
    return [output / stem for stem in stems]


def stem_of(path):
    """Return the name without the suffixes that say the format (``stack.ome.tif`` -> ``stack``)."""
    stem = Path(path).resolve().name
    for suffix in (".gz", ".zip", ".tif", ".tiff", ".btf", ".tf8", ".npy", ".zarr", ".ome"):
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            stem = stem[: -len(suffix)]
    return stem
