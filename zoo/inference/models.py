"""Load an .onnx file with its card, on the fastest provider that really runs."""

import contextlib
import hashlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.weights import onnx_file
from calzoo.weights.card import Card

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
PROVIDERS = get_args(Provider)
MAX_BYTES = 1 << 30

_ORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_ORT_OPTIONS = {
    # The default, EXHAUSTIVE, times every algorithm anew for each input shape.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
    "tensorrt": {"trt_fp16_enable": "False"},
}
_REMEDIES = {
    "cpu": "pip install 'calzoo[cpu]'",
    # Both runtimes install one module; the last one installed wins.
    "cuda": "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'calzoo[gpu]'",
    "tensorrt": ("pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'calzoo[gpu]' tensorrt-cu13"),
    "openvino": "pip install 'calzoo[openvino]'",
}
_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "bad_alloc", "bad allocation", "alloc_failed")


class _ProviderError(CalzooError):
    """The network may be good, but not what is to run it."""


class Model:
    """A network that is ready to run.

    Attributes
    ----------
    card : Card
        What the file says about itself.
    provider : str
        Which of `PROVIDERS` really runs it.
    path : pathlib.Path
    sha256 : str
        Of the file, 64 hexadecimal digits.
    optional : tuple of str
        Inputs beside those of the card that may be fed, such as features that were computed before.
    """

    def __init__(self, card: Card, provider: str, path: Path, sha256: str, backend: Any):
        self.card = card
        self.provider = provider
        self.path = path
        self.sha256 = sha256
        self.optional: tuple[str, ...] = tuple(getattr(backend, "optional", ()))
        self._backend = backend

    def __repr__(self) -> str:
        card = self.card
        return f"Model({card.name!r}, task={card.task!r}, provider={self.provider!r}, path={self.path})"

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the network once.

        Parameters
        ----------
        feeds : Mapping of str to ndarray
            The card's inputs by name, with the card's axes and dtypes; `optional` ones where wanted.
        outputs : sequence of str, optional
            Names of outputs; by default those of the card.

        Returns
        -------
        dict of str to ndarray
            The outputs by name.

        Raises
        ------
        MemoryError
            If the memory of the provider does not suffice; a smaller batch may.
        CalzooError
            If the names are not those of the card, or the network refuses the arrays.
        """
        names = [tensor.name for tensor in self.card.inputs]
        if sorted(set(feeds) - set(self.optional)) != sorted(names):
            message = f"{self.card.name!r} has the inputs {', '.join(names)}; got {', '.join(feeds)}."
            raise CalzooError(message)
        try:
            return self._backend(feeds) if outputs is None else self._backend(feeds, outputs)
        except Exception as error:  # Each runtime has exceptions of its own.
            if isinstance(error, MemoryError) or any(t in str(error).lower() for t in _OUT_OF_MEMORY):
                message = f"{self.provider} ran out of memory"
                raise MemoryError(message) from error
            shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in feeds.items())
            message = (
                f"{self.card.name!r} failed on {self.provider} with {shapes}: {_first_line(error)} "
                f"Sides must be multiples of {dict(self.card.divisor)}; or try provider 'cpu'."
            )
            raise CalzooError(message) from error


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    provider: Provider = "auto",
    threads: int | None = None,
    role: str = "model",
) -> Model:
    """Load a preset or an .onnx file.

    Parameters
    ----------
    name_or_path : str or path
        A preset's name, or an .onnx file with a model card.
    provider : {"auto", "cpu", "cuda", "tensorrt", "openvino"}, optional
        What runs the network. "auto" takes a CUDA device if one really works, and
        the processor otherwise; any other name never falls back.
    threads : int, optional
        Processor threads; the runtime's own choice where absent.
    role : str, optional
        Which network of a preset that has several.

    Returns
    -------
    Model

    Raises
    ------
    CalzooError
        If there is no such preset or file, the file is damaged, has no card or
        does not stand alone, or the provider is not to be had.

    Examples
    --------
    >>> model = load_model("axons", provider="cpu")
    >>> model.card.task, model.provider, model.card.inputs[0].axes
    ('axons', 'cpu', 'bczyx')
    """
    if provider not in PROVIDERS:
        message = f"provider must be one of {', '.join(PROVIDERS)}; got {provider!r}."
        raise CalzooError(message)
    threads = checked_threads(threads)
    if not isinstance(name_or_path, (str, os.PathLike)):
        message = f"expected the name of a preset or the path of an .onnx file, got {name_or_path!r}."
        raise CalzooError(message)
    if provider == "auto":
        model = _load_on_device(name_or_path, role, threads)
        if model is not None:
            return model
        provider = "cpu"
    return _load(name_or_path, role, provider, threads)


def model_of(given, preset, *, provider, threads):
    """Return the model that a pipeline was given: a Model, that of an .onnx file, or by default a preset's.

    Parameters
    ----------
    given : Model, str, path or None
    preset : str
    provider, threads
        As for `load_model`.

    Raises
    ------
    CalzooError
        If it is something else, or as `load_model` does.
    """
    if isinstance(given, Model):
        return given
    if given is not None and not isinstance(given, (str, os.PathLike)):
        message = f"model: expected the path of an .onnx file or what load_model returned, got {given!r}."
        raise CalzooError(message)
    return load_model(preset if given is None else Path(given), provider=provider, threads=threads)


def checked_threads(threads):
    """Return a number of threads as Python's int, or None; refuse what is none."""
    if threads is None:
        return None
    if not isinstance(threads, Integral) or isinstance(threads, bool) or threads < 1:
        message = f"threads must be a whole number of at least 1, got {threads!r}."
        raise CalzooError(message)
    return int(threads)


def _load_on_device(name_or_path, role, threads):
    """Return the model on a CUDA device, None where there is none that works."""
    if _ORT_NAMES["cuda"] not in _runtime().get_available_providers():
        return None
    try:
        return _load(name_or_path, role, "cuda", threads)
    except _ProviderError:
        print(
            "calzoo: a CUDA device was tried and does not start; running on the processor. "
            "'calzoo doctor' says why.",
            file=sys.stderr,
        )
        return None


def _load(name_or_path, role, provider, threads):
    path = _find(name_or_path, role, provider)
    data = _read(path)
    start = _openvino if provider == "openvino" else _onnxruntime
    try:
        card = Card.from_json(onnx_file.card_text(data))
        backend = start(data, card, provider, threads)
    except CalzooError as error:
        message = f"{path}: {error}"
        raise type(error)(message) from error
    return Model(card, provider, path, hashlib.sha256(data).hexdigest(), backend)


def _find(name_or_path, role, provider):
    path = Path(name_or_path)
    if path.suffix == ".onnx" or isinstance(name_or_path, Path) or path.is_file():
        return path
    from calzoo.weights import registry

    files = registry.preset(name_or_path).network(role).files
    kind = "onnx_cpu" if provider == "cpu" and "onnx_cpu" in files else "onnx"
    return Path(registry.resolve(name_or_path, role, kind=kind))


def _read(path):
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            message = (
                f"{path}: expected an .onnx file of at most {MAX_BYTES} bytes, got {size}; "
                "is it the right file?"
            )
            raise CalzooError(message)
        return path.read_bytes()
    except OSError as error:
        message = (
            f"{path}: expected an .onnx file, but it cannot be read ({error.strerror}); "
            "'calzoo list' names the presets."
        )
        raise CalzooError(message) from error


def _runtime():
    try:
        import onnxruntime
    except ImportError as error:
        message = f"expected onnxruntime, which is not installed; {_REMEDIES['cpu']}."
        raise CalzooError(message) from error
    return onnxruntime


def _onnxruntime(data, card, provider, threads):
    runtime = _runtime()
    name = _ORT_NAMES[provider]
    available = runtime.get_available_providers()
    if name not in available:
        _refuse_provider(provider, f"onnxruntime {runtime.__version__} offers {', '.join(available)}")
    if provider != "cpu" and hasattr(runtime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            runtime.preload_dlls(directory="")  # CUDA and cuDNN from NVIDIA's wheels, where installed
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # a failure reaches the user as an exception, once
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.load_model_format", "ONNX")
    chosen = [(name, _ORT_OPTIONS.get(provider, {}))]
    if provider == "tensorrt":
        chosen.append((_ORT_NAMES["cuda"], _ORT_OPTIONS["cuda"]))
    try:
        session = runtime.InferenceSession(data, options, providers=chosen, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base but this one
        if provider != "cpu":
            _refuse_provider(provider, _first_line(error))
        message = f"expected a network that onnxruntime can run, got: {_first_line(error)} Export it again."
        raise CalzooError(message) from error
    if session.get_providers()[0] != name:
        _refuse_provider(provider, "its libraries or its device do not start")
    _check_names(card, [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
    named = [tensor.name for tensor in card.outputs]

    def run(feeds, outputs=named):
        return dict(zip(outputs, session.run(list(outputs), dict(feeds)), strict=True))

    run.optional = [value.name for value in session.get_overridable_initializers()]
    return run


def _openvino(data, card, provider, threads):
    try:
        import openvino
    except ImportError:
        _refuse_provider(provider, "the package openvino is not installed")
    core = openvino.Core()
    try:
        network = core.read_model(data)
    except Exception as error:  # openvino raises bare RuntimeErrors
        message = f"expected a network that openvino can read, got: {_first_line(error)} Try provider 'cpu'."
        raise CalzooError(message) from error
    inputs = [name for port in network.inputs for name in port.get_names()]
    outputs = [name for port in network.outputs for name in port.get_names()]
    _check_names(card, inputs, outputs)
    # float32 also where the processor offers bfloat16: a preset's scores must not depend on the machine.
    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = {}
    named = [tensor.name for tensor in card.outputs]
    # A compiled network has one set of buffers for whoever calls it.
    alone = threading.Lock()

    def run(feeds, outputs=named):
        shapes = tuple(sorted((name, array.shape) for name, array in feeds.items()))
        with alone:
            if shapes not in compiled:
                compiled.clear()
                # Known sides make a faster program, and a run has one tile shape.
                network.reshape({name: list(shape) for name, shape in shapes})
                compiled[shapes] = core.compile_model(network, "CPU", config)
            result = compiled[shapes](dict(feeds))
            return {name: result[name].copy() for name in outputs}

    return run


def _check_names(card, inputs, outputs):
    expected = [t.name for t in card.inputs], [t.name for t in card.outputs]
    if sorted(expected[0]) != sorted(inputs) or not set(expected[1]) <= set(outputs):
        message = (
            f"the card names inputs {expected[0]} and outputs {expected[1]}, the network has "
            f"{inputs} and {outputs}; export it again with 'calzoo export'."
        )
        raise CalzooError(message)


def _refuse_provider(provider, reason):
    message = f"provider {provider!r} was asked for, but {reason}; {_REMEDIES[provider]}"
    if provider != "cpu":
        message += ", or use provider 'auto'"
    message += "."
    raise _ProviderError(message)


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
