"""The command line: what goes where, and the exit status."""

import importlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import types
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calzoo import __version__, cli
from calzoo.commands import _batch, _options, info
from calzoo.commands.doctor import _tiny_card
from calzoo.errors import CalzooError
from calzoo.imaging.borders import semantic_from_instances
from calzoo.imaging.images import open_volume
from calzoo.imaging.outputs import write_run_json
from calzoo.imaging.writers import write_volume
from calzoo.simulation.axons import simulate_axons
from calzoo.weights.card import Card, Score


@pytest.fixture
def command(monkeypatch):
    """Make ``calzoo try`` run a function of the test."""

    def use(run):
        module = types.ModuleType("try", "Try it.")
        module.GROUP, module.add_arguments, module.run = "help", lambda parser: None, run
        monkeypatch.setattr(cli, "_commands", lambda: {"try": module})

    return use


def fail(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize("status", [None, 0, 1])
def test_the_exit_status_is_that_of_the_command(command, status):
    command(lambda args: status)
    assert cli.main(["try"]) == (status or 0)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CalzooError("expected a volume,\n  got a picture."), "expected a volume, got a picture."),
        (OSError(28, "No space left on device", "out.tif"), "[Errno 28] No space left on device: 'out.tif'"),
        (MemoryError(), "MemoryError"),
        (
            ModuleNotFoundError("No module named 'keras'", name="keras.src"),
            "this command needs keras, which is not installed; run: python -m pip install 'calzoo[train]'",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_1(command, capsys, error, line):
    command(fail(error))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr() == ("", f"calzoo: {line}\n")


@pytest.mark.parametrize(
    "error", [TypeError("a bug"), ModuleNotFoundError("no module 'calzoo.x'", name="calzoo.x")]
)
def test_a_bug_keeps_its_traceback(command, error):
    command(fail(error))
    with pytest.raises(type(error), match=str(error)):
        cli.main(["try"])


def test_ctrl_c_is_one_line_and_status_130(command, capsys):
    command(fail(KeyboardInterrupt()))
    assert cli.main(["try"]) == 130
    assert capsys.readouterr() == ("", "calzoo: interrupted\n")


def test_a_warning_is_one_line_on_stderr(command, capsys):
    command(lambda args: warnings.warn("no voxel size", stacklevel=2))
    assert cli.main(["try"]) == 0
    assert capsys.readouterr() == ("", "calzoo: warning: no voxel size\n")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["axons", "x.tif"], "required: -o/--output"),
        (["axons", "x.tif", "-o", "y", "--voxel", "2,1"], "expected three sizes Z,Y,X.*got '2,1'"),
        (["axons", "x.tif", "-o", "y", "--voxel", "2,0,1"], "a size in micrometres above 0, got '0'"),
        (["axons", "x.tif", "-o", "y", "--threads", "0"], "a whole number from 1 on, got '0'"),
        (["axons", "x.tif", "-o", "y", "--provider", "gpu"], "invalid choice: 'gpu'"),
        (["axons", "x.tif", "-o", "y", "--preset", "a", "--model", "b.onnx"], "not allowed with"),
        (
            ["simulate", "axons", "-o", "y", "--shape", "1,2"],
            "expected whole numbers Z,Y,X, such as 32,256,256; got '1,2'",
        ),
        (["simulate", "axons", "-o", "y", "--shape", "1,2,x"], "a whole number from 1 on, got 'x'"),
    ],
)
def test_a_wrong_command_line_is_status_2(capsys, argv, reason):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert not out
    assert re.search(reason, err)


def test_the_version_goes_to_stdout(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr() == (f"calzoo {__version__}\n", "")


#: A process whose ``calzoo try`` runs a function.
TRY = (
    "import sys, types; import calzoo.cli as cli; m = types.ModuleType('try', 'Try it.');"
    "m.GROUP, m.add_arguments = 'help', lambda p: None; m.run = {run};"
    "cli._commands = lambda: {{'try': m}}; sys.exit(cli.main(['try']))"
)


def test_a_reader_that_stops_reading_is_no_error_message():
    command = [sys.executable, "-c", TRY.format(run="lambda a: print('x' * 10**6)")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_name_that_the_encoding_lacks_is_spelled_out(encoding):
    command = [sys.executable, "-c", TRY.format(run="lambda a: print('caf\\u00e9 \\u7d30\\u80de')")]
    done = subprocess.run(
        command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}, check=True
    )
    assert done.stdout.decode(encoding).rstrip().endswith("\\u7d30\\u80de")
    assert done.stderr == b""


@pytest.mark.skipif(os.name != "posix", reason="streams are closed as shells do")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_not_matter(closed):
    run = "lambda a: (print('result'), print('message', file=sys.stderr)) and None"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(TRY.format(run=run))} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (
        "" if closed[0] == ">" else "result\n",
        "" if "2" in closed else "message\n",
    )


def test_a_backend_that_is_not_there_does_not_stop_what_draws_files(monkeypatch, command):
    monkeypatch.setenv("MPLBACKEND", "module://no.such_backend")
    command(lambda args: importlib.import_module("matplotlib").use(os.environ["MPLBACKEND"]))
    assert cli.main(["try"]) == 0


@pytest.mark.parametrize(("name", "usual"), [("OPENBLAS_NUM_THREADS", "1"), ("TF_CPP_MIN_LOG_LEVEL", "2")])
def test_libraries_get_one_thread_and_are_quiet_unless_the_user_says_otherwise(name, usual):
    code = f"import os, calzoo.cli as c; c.main(['--version']); print(os.environ[{name!r}])"
    for given, expected in ({}, usual), ({name: "3"}, "3"):
        environment = {k: v for k, v in os.environ.items() if k != name} | given
        out = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        assert out.stdout.split()[-1] == expected.encode()


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
def test_a_process_that_is_interrupted_says_so_without_traceback(tmp_path):
    argv = ["simulate", "axons", "-o", str(tmp_path / "many"), "--count", "100000", "--shape", "4,32,32"]
    part = tmp_path / "many.part" / "000_volume.tif"
    command = [sys.executable, "-m", "calzoo", *argv]
    # Tests that run in the background of a shell ignore SIGINT, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        try:
            deadline = time.monotonic() + 60
            while not part.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert part.exists()
            process.send_signal(signal.SIGINT)
            err = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.rstrip().endswith("calzoo: interrupted")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def parsed(*argv):
    return cli._parser().parse_args(["axons", "x.tif", "-o", "y", *argv])


def test_models_are_given_by_role(tmp_path, monkeypatch):
    assert _options.models(parsed()) == {}
    assert _options.models(parsed("--model", "a.onnx")) == {"model": Path("a.onnx")}
    two = parsed("--model", "proposal=a.onnx", "--model", "instance=b.onnx")
    assert _options.models(two, ("proposal", "instance")) == {
        "proposal": Path("a.onnx"),
        "instance": Path("b.onnx"),
    }


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("size=4.onnx").touch()
    assert _options.models(parsed("--model", "size=4.onnx")) == {"model": Path("size=4.onnx")}


@pytest.mark.parametrize(
    ("argv", "roles", "reason"),
    [
        (("--model", "chef=a.onnx"), ("model",), "expected each of model=FILE.onnx once, got 'chef=a.onnx'"),
        (("--model", "a.onnx", "--model", "b.onnx"), ("model",), "once, got 'b.onnx'"),
        (("--model", "a.onnx"), ("proposal", "instance"), "proposal=FILE.onnx, instance=FILE.onnx once, got"),
        (
            ("--model", "proposal=a.onnx"),
            ("proposal", "instance"),
            "all of proposal, instance; got only proposal",
        ),
    ],
)
def test_models_of_wrong_roles_are_refused(argv, roles, reason):
    with pytest.raises(CalzooError, match=reason):
        _options.models(parsed(*argv), roles)


def test_the_voxel_size_is_read_as_three_numbers():
    assert parsed("--voxel", "2,0.5,.25").voxel == (2.0, 0.5, 0.25)


def finish(path, folder):
    folder.mkdir(parents=True, exist_ok=True)
    write_run_json(folder, input=path, model={"sha256": "abc"}, options={"size": (2, 1.5), "zarr": False})


def test_one_input_fills_the_output_folder_and_several_get_folders_in_it(tmp_path):
    assert _batch.run_each([Path("a/x.tif")], tmp_path / "one", finish) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["run.json"]
    assert _batch.run_each([Path("x.ome.tif"), Path("y.npy")], tmp_path / "two", finish) == 0
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["x", "y"]


def test_inputs_of_one_name_are_refused_before_anything_is_done(tmp_path):
    with pytest.raises(CalzooError, match=r"inputs of different names.*got x more than once"):
        _batch.run_each([Path("a/x.tif"), Path("b/x.npy")], tmp_path / "out", finish)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["planes", "link", "."])
def test_results_do_not_go_into_an_input(tmp_path, output):
    inputs = [tmp_path / "planes", tmp_path / "other"][: 1 if output != "." else 2]
    for path in inputs:
        path.mkdir()
    (tmp_path / "link").symlink_to("planes")
    with pytest.raises(CalzooError, match="got an input, which is never replaced; give another -o"):
        _batch.run_each(inputs, tmp_path / output, finish, overwrite=True)
    assert list(tmp_path.rglob("run.json")) == []


def test_a_failed_input_does_not_stop_the_rest(tmp_path, capsys):
    def run_one(path, folder):
        if path.stem == "b":
            message = "is no volume"
            raise CalzooError(message)
        if path.stem == "c":
            message = "a bug"
            raise TypeError(message)
        finish(path, folder)

    assert _batch.run_each([Path(f"{name}.tif") for name in "abcd"], tmp_path, run_one) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]
    err = capsys.readouterr().err
    assert "calzoo: b.tif: is no volume\n" in err
    assert "TypeError: a bug\n" in err
    assert err.endswith("calzoo: 2 of 4 failed\n")


def test_finished_inputs_are_skipped_unless_they_are_to_be_overwritten(tmp_path, capsys):
    done = []

    def run_one(path, folder):
        done.append(path.stem)
        finish(path, folder)

    inputs = [Path("a.tif"), Path("b.tif")]
    finish(inputs[0], tmp_path / "a")
    assert _batch.run_each(inputs, tmp_path, run_one) == 0
    assert done == ["b"]
    assert "a.tif: skipped" in capsys.readouterr().err
    assert _batch.run_each(inputs, tmp_path, run_one, overwrite=True) == 0
    assert done == ["b", "a", "b"]


@pytest.mark.parametrize(
    ("name", "network", "options", "what"),
    [
        ("b.tif", "abc", {}, "another input"),
        ("other/a.tif", "abc", {}, "another input"),
        ("a.tif", "xyz", {}, "another network"),
        ("a.tif", "abc", {"size": (2, 1), "channel": 0}, r"other options \(channel, size\)"),
    ],
)
def test_the_result_of_something_else_is_not_taken_for_finished(tmp_path, name, network, options, what):
    options = {"size": (2, 1.5), "zarr": False, "channel": None} | options
    (tmp_path / "other").mkdir()
    for file in ("a.tif", "b.tif", "other/a.tif"):
        (tmp_path / file).write_text("0")
    out = tmp_path / "out"
    finish(tmp_path / "a.tif", out)
    arguments = [tmp_path / name], out, finish
    with pytest.raises(CalzooError, match=f"holds the result of {what}; give another -o, or replace"):
        _batch.run_each(*arguments, network=network, options=options)
    assert _batch.run_each(*arguments, network=network, options=options, overwrite=True) == 0


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_recording_that_has_changed_is_another_one(tmp_path, monkeypatch, capsys, kind):
    path = file = tmp_path / "a"
    if kind == "folder":
        path.mkdir()
        file = path / "0.tif"
    file.write_text("0")
    finish(path, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert _batch.run_each([Path("a")], tmp_path / "out", finish) == 0
    assert "a: skipped" in capsys.readouterr().err
    for change in (lambda: file.write_text("12"), lambda: os.utime(file, (0, 0))):
        change()
        with pytest.raises(CalzooError, match="holds the result of another input"):
            _batch.run_each([path], tmp_path / "out", finish)
        assert _batch.run_each([path], tmp_path / "out", finish, overwrite=True) == 0


@pytest.mark.parametrize("text", ["", "{}", '{"source": {}}', "[1]"])
def test_a_record_of_something_else_does_not_say_that_a_result_is_finished(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CalzooError, match="holds the result of another input"):
        _batch.run_each([Path("a.tif")], tmp_path, finish)


def test_a_missing_package_stops_all_inputs_at_once(tmp_path):
    calls = []

    def run_one(path, folder):
        calls.append(path)
        raise ModuleNotFoundError(name="onnxruntime")

    with pytest.raises(ModuleNotFoundError):
        _batch.run_each([Path("a.tif"), Path("b.tif")], tmp_path, run_one)
    assert len(calls) == 1


def test_list_shows_a_line_for_each_preset(registry, capsys):
    assert cli.main(["list"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "for", "task", "size", "files", "licence"]
    assert line.split() == ["dots", "Dots", "axons", "0.0", "MB", "installed", "MIT"]


def test_fetch_prints_the_path_of_the_network(registry, capsys):
    assert cli.main(["fetch", "dots"]) == 0
    assert capsys.readouterr().out == f"{registry.FOLDER / 'released' / 'dots.onnx'}\n"


def test_fetch_all_fills_a_folder_that_serves_as_the_cache(registry, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "usb" / "stick"
    assert cli.main(["fetch", "--all", str(folder)]) == 0
    names = {"dots.onnx", "dots.safetensors", "dots.npz"}
    assert {path.name for path in folder.iterdir()} == names
    assert {Path(line).name for line in capsys.readouterr().out.splitlines()} == names
    monkeypatch.setenv("CALZOO_CACHE", str(folder))
    monkeypatch.setenv("CALZOO_OFFLINE", "1")
    (registry.FOLDER / "outside" / "dots.npz").unlink()
    assert registry.resolve("dots", kind="golden") == folder / "dots.npz"


def test_fetch_all_goes_on_after_a_file_that_is_missing(registry, tmp_path, capsys):
    (registry.FOLDER / "outside" / "dots.npz").unlink()
    assert cli.main(["fetch", "--all", str(tmp_path / "all")]) == 1
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"dots.onnx", "dots.safetensors"}
    assert "1 of 3 files are missing" in capsys.readouterr().err


def test_fetch_wants_names_or_a_folder(registry, capsys):
    assert cli.main(["fetch"]) == 1
    assert "expected names of presets or --all DIR" in capsys.readouterr().err
    assert cli.main(["fetch", "dot"]) == 1
    assert "did you mean 'dots'?" in capsys.readouterr().err


def test_simulate_writes_the_same_stacks_for_the_same_seed(tmp_path, capsys):
    argv = [
        "simulate",
        "axons",
        "--seed",
        "7",
        "--count",
        "2",
        "--shape",
        "6,32,40",
        "--style",
        "confocal",
        "-o",
    ]
    for name in "ab":
        assert cli.main([*argv, str(tmp_path / name)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "a"), str(tmp_path / "b")]
    facts = json.loads((tmp_path / "a" / "run.json").read_text())
    assert [stack["seed"] for stack in facts["stacks"]] == [[7, 0], [7, 1]]
    for kind in ("volume", "instances", "semantic"):
        a, b = ((tmp_path / name / f"000_{kind}.tif").read_bytes() for name in "ab")
        assert a == b
    first, second = (open_volume(tmp_path / "a" / f"{name}_volume.tif") for name in ("000", "001"))
    assert first.shape == (6, 32, 40)
    assert not np.array_equal(first.read(), second.read())


def test_simulated_truth_fits_its_volume(tmp_path):
    argv = ["simulate", "axons", "--shape", "6,32,40", "--seed", "3", "-o", str(tmp_path / "a")]
    assert cli.main(argv) == 0
    volume, instances, semantic = (
        open_volume(tmp_path / "a" / f"000_{kind}.tif") for kind in ("volume", "instances", "semantic")
    )
    assert volume.shape == instances.shape == semantic.shape
    assert volume.voxel_um == pytest.approx(instances.voxel_um)
    expected = simulate_axons((3, 0), (6, 32, 40))
    np.testing.assert_array_equal(volume.read(), expected.volume)
    np.testing.assert_array_equal(instances.read(), expected.instances)
    np.testing.assert_array_equal(semantic.read(), semantic_from_instances(expected.instances))


MODELS = Path(__file__).resolve().parent / "models"


@pytest.fixture
def stacks(tmp_path):
    """Two simulated stacks."""
    argv = ["simulate", "axons", "--count", "2", "--shape", "8,48,48", "--style", "lightsheet"]
    assert cli.main([*argv, "-o", str(tmp_path / "stacks")]) == 0
    return sorted(map(str, (tmp_path / "stacks").glob("*_volume.tif")))


def axons(*argv):
    return cli.main(["axons", *map(str, argv), "--model", str(MODELS / "pixel.onnx"), "--threads", "1"])


def test_axons_are_segmented_stack_by_stack(stacks, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    capsys.readouterr()
    assert axons(*stacks, "-o", tmp_path / "out", "--voxel", "2,.5,.5") == 0
    folders = [tmp_path / "out" / "000_volume", tmp_path / "out" / "001_volume"]
    assert capsys.readouterr().out.split() == list(map(str, folders))
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names == {"semantic.tif", "instances.tif", "axons.csv", "overlay.png", "run.json"}
        assert open_volume(folder / "instances.tif").voxel_um == pytest.approx((2, 0.5, 0.5))


def test_axons_are_found_again_for_another_stack_or_other_options_on_request_only(stacks, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    other = tmp_path / "elsewhere" / Path(stacks[0]).name
    other.parent.mkdir()
    other.write_bytes(Path(stacks[0]).read_bytes())
    out = str(tmp_path / "out")
    assert axons(stacks[0], "-o", out) == 0
    assert axons(stacks[0], "-o", out) == 0
    assert "is finished" in capsys.readouterr().err
    assert axons(other, "-o", out) == 1
    assert "holds the result of another input" in capsys.readouterr().err
    assert axons(stacks[0], "-o", out, "--min-voxels", "9", "--voxel", "2,1,1") == 1
    assert "holds the result of other options (min_voxels, voxel_um)" in capsys.readouterr().err


def test_a_stack_that_cannot_be_read_does_not_stop_the_others(stacks, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no picture")
    assert axons(broken, stacks[0], "-o", tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000_volume"]
    complaint = capsys.readouterr().err
    assert re.search(r"calzoo: .*broken\.tif: .*\n.*calzoo: 1 of 2 failed\n$", complaint, re.DOTALL)
    assert complaint.count(str(broken)) == 1


def test_one_stack_that_cannot_be_read_is_one_line(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    assert axons(tmp_path / "none.tif", "-o", tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert not out
    assert re.fullmatch(r"calzoo: .*none\.tif.*\n", err)
    assert list(tmp_path.iterdir()) == []


def test_axons_are_scaled_to_what_the_network_knows(tmp_path):
    pytest.importorskip("onnxruntime")
    bar = np.full((8, 48, 60), 100, np.uint16)
    bar[2:6, 10:26] = 1000
    write_volume(tmp_path / "a.tif", bar, voxel_um=(1, 0.5, 0.5))
    factors = []
    for size in ("8um", "16"):  # half a micrometre each: the same
        options = ["--axon-diameter", size, "-o", tmp_path / size]
        assert axons(tmp_path / "a.tif", *options) == 0
        facts = json.loads((tmp_path / size / "run.json").read_text())
        factors.append(facts["parameters"]["factors"])
        assert open_volume(tmp_path / size / "instances.tif").shape == bar.shape
    assert factors[0] == factors[1]
    assert factors[0][1] < 1


def test_an_axon_diameter_in_micrometres_needs_the_voxel_size(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    np.save(tmp_path / "a.npy", np.zeros((8, 48, 60), np.uint16))
    assert axons(tmp_path / "a.npy", "-o", tmp_path / "out", "--axon-diameter", "1.5um") == 1
    assert "the voxel size is not known; give it (voxel_um, --voxel Z,Y,X)" in capsys.readouterr().err


@pytest.fixture
def napari(monkeypatch):
    """Put a module in napari's place that writes down what it is asked to show."""
    module = types.ModuleType("napari")
    module.__spec__ = importlib.machinery.ModuleSpec("napari", None)
    module.viewers, module.runs = [], []

    class Viewer:
        def __init__(self, title):
            self.title, self.layers = title, {}
            module.viewers.append(self)

        def add_image(self, data, name):
            self.layers[name] = types.SimpleNamespace(data=data, scale=None)
            return self.layers[name]

        def add_labels(self, data, name, visible):
            return self.add_image(data, name)

    def run():
        # What a viewer does with an image: its kind, one plane, a few planes, all of it.
        for viewer in module.viewers[len(module.runs) :]:
            module.runs.append({name: look(layer.data) for name, layer in viewer.layers.items()})

    def look(data):
        everything = np.asarray(data)
        assert (data.ndim, data.shape, data.dtype) == (3, everything.shape, everything.dtype)
        assert len(data) == len(everything)
        assert data.size == everything.size
        for index in (
            3,
            -1,
            (2, slice(None), slice(4, 9)),
            np.s_[1:6:2],
            np.s_[::-2, 3],
            np.s_[5:5],
            np.s_[..., :],
        ):
            np.testing.assert_array_equal(data[index], everything[index])
        return everything

    module.Viewer, module.run = Viewer, run
    monkeypatch.setitem(sys.modules, "napari", module)
    return module


@pytest.mark.parametrize("form", [[], ["--zarr"]])
def test_results_are_shown_in_napari(stacks, tmp_path, napari, form):
    pytest.importorskip("onnxruntime")
    if form:
        pytest.importorskip("zarr")
    assert axons(*stacks, "-o", tmp_path / "out", "--voxel", "2,.5,.5", "--view", *form) == 0
    assert [viewer.title for viewer in napari.viewers] == [f"calzoo axons {Path(p).name}" for p in stacks]
    for path, viewer, shown in zip(stacks, napari.viewers, napari.runs, strict=True):
        assert {layer.scale for layer in viewer.layers.values()} == {(2, 0.5, 0.5)}
        folder = tmp_path / "out" / Path(path).stem
        end = ".zarr" if form else ".tif"
        with open_volume(path) as volume:
            np.testing.assert_array_equal(shown.pop(Path(path).name), volume.read())
        for name in ("semantic", "instances"):
            with open_volume(folder / f"{name}{end}") as volume:
                np.testing.assert_array_equal(shown.pop(name), volume.read())
        assert not shown


def test_a_finished_result_is_shown_again(stacks, tmp_path, napari):
    pytest.importorskip("onnxruntime")
    for times in (1, 2):
        assert axons(stacks[0], "-o", tmp_path / "out", "--view") == 0
        assert len(napari.viewers) == times


def test_without_napari_the_line_that_installs_it_is_named_before_the_work(
    stacks, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert axons(stacks[0], "-o", tmp_path / "out", "--view") == 1
    assert "--view needs napari, which is not installed; run: python -m pip install 'napari[all]'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_info_describes_a_file(capsys):
    pytest.importorskip("onnxruntime")
    assert cli.main(["info", str(MODELS / "pooled.onnx")]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("pooled (model): ")
    assert "sides       multiples of 1 z x 2 y x 2 x (padded and cropped back)" in lines
    assert lines[-1] == "scores: none were measured"


def test_info_names_the_thresholds():
    card = replace(_tiny_card(), postprocessing={"score_threshold": 0.45, "min_voxels": 100, "grow": True})
    assert "  thresholds  score_threshold 0.45, min_voxels 100, grow True" in list(info._describe(card))


def test_info_puts_baseline_and_chance_beside_a_score():
    score = Score(
        data="stacks", metric="F1", value=0.9, protocol="held out", spread=(0.8, 1.0), baseline=0.5,
        baseline_name="Otsu", chance=0.1,
    )  # fmt: skip
    other = Score(data="cubes", metric="F1", value=0.7, protocol="held out")
    lines = list(info._describe(replace(_tiny_card(), scores=(score, other))))
    assert lines[-5:] == [
        "  scores",
        "    on stacks; held out",
        "      F1                          0.9    0.8 to 1; Otsu 0.5; chance 0.1",
        "    on cubes; held out",
        "      F1                          0.7",
    ]


def test_info_prints_the_card_as_it_stands_in_the_file(capsys):
    pytest.importorskip("onnxruntime")
    assert cli.main(["info", "--json", str(MODELS / "pixel.onnx")]) == 0
    assert Card.from_json(capsys.readouterr().out).name == "pixel"


@pytest.mark.usefixtures("checkout_is_the_cache")
def test_a_folder_named_as_a_preset_does_not_hide_it(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    (tmp_path / "cells-2p").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["info", "cells-2p"]) == 0
    assert "(proposal)" in capsys.readouterr().out


@pytest.mark.usefixtures("checkout_is_the_cache")
def test_info_prints_one_object_by_role_where_a_preset_has_several_files(capsys):
    pytest.importorskip("onnxruntime")
    assert cli.main(["info", "--json", "cells-2p"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert {role: Card.from_json(json.dumps(card)).role for role, card in cards.items()} == {
        "proposal": "proposal",
        "instance": "instance",
    }
