"""Downloads, against a server of this process: only what is verified gets its name."""

import http.server
import threading
from pathlib import Path

import pytest

from calzoo.errors import CalzooError
from calzoo.weights import download

NAME = "dots.safetensors"


class Server(http.server.BaseHTTPRequestHandler):
    """Serves /good/NAME, and the ways in which servers fail."""

    def do_GET(self):
        case, name = self.path.strip("/").split("/")
        if case == "missing":
            self.send_error(404)
        elif case == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.end_headers()
        else:
            body = b"something else" if case == "wrong" else name.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:5] if case == "truncated" else body)
        self.server.asked.append(self.path)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server on a free port of this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror(server, registry, monkeypatch):
    """Choose how the server behaves; the checkout's own copy of the file is gone."""
    (registry.FOLDER / "outside" / NAME).unlink()

    def choose(case):
        monkeypatch.setenv("CALZOO_MIRROR", f"http://127.0.0.1:{server.server_port}/{case}/")

    return choose


def kept(tmp_path):
    folder = tmp_path / "cache"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("case", ["good", "moved"])
def test_a_file_is_downloaded_once(registry, server, mirror, tmp_path, case):
    mirror(case)
    path = registry.resolve("dots", kind="safetensors")
    assert path == tmp_path / "cache" / NAME
    assert path.read_text() == NAME
    asked = list(server.asked)
    assert registry.resolve("dots", kind="safetensors") == path
    assert server.asked == asked


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("missing", "could not be downloaded from http.*404.*CALZOO_MIRROR"),
        ("truncated", "could not be downloaded from http.*5 bytes read"),
        ("wrong", "was refused and nothing was kept.*does not match the known hash"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing(registry, mirror, tmp_path, case, reason):
    mirror(case)
    with pytest.raises(CalzooError, match=reason):
        registry.resolve("dots", kind="safetensors")
    assert kept(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_replaced(registry, mirror, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_text("half a fi")
    mirror("good")
    assert registry.resolve("dots", kind="safetensors").read_text() == NAME


def test_a_failed_download_keeps_the_file_that_was_there(registry, mirror, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_text("half a fi")
    mirror("wrong")
    with pytest.raises(CalzooError, match="was refused"):
        registry.resolve("dots", kind="safetensors")
    assert (tmp_path / "cache" / NAME).read_text() == "half a fi"


def test_offline_means_that_no_server_is_asked(registry, server, mirror, monkeypatch):
    mirror("good")
    monkeypatch.setenv("CALZOO_OFFLINE", "1")
    with pytest.raises(CalzooError, match=r"CALZOO_OFFLINE forbids.*calzoo fetch --all DIR"):
        registry.resolve("dots", kind="safetensors")
    assert server.asked == []


def test_offline_uses_what_is_in_the_cache(registry, mirror, monkeypatch):
    mirror("good")
    path = registry.resolve("dots", kind="safetensors")
    monkeypatch.setenv("CALZOO_OFFLINE", "1")
    assert registry.resolve("dots", kind="safetensors") == path


def test_a_server_that_is_down_is_one_clear_error(registry, server, mirror, monkeypatch):
    port = server.server_port
    monkeypatch.setenv("CALZOO_MIRROR", f"https://127.0.0.1:{port}")
    with pytest.raises(CalzooError, match=r"could not be downloaded from https://127\.0\.0\.1"):
        registry.resolve("dots", kind="safetensors")


def test_a_file_of_the_checkout_that_is_not_here_has_no_address(registry, mirror):
    with pytest.raises(CalzooError, match=r"weights/outside of the repository.*CALZOO_MIRROR"):
        registry.resolve("dots", kind="safetensors")


def test_the_mirror_comes_before_a_file_s_own_address(registry, monkeypatch):
    file = registry.File(name="x.onnx", sha256="0" * 64, size=1, where="https://example.invalid/x.onnx")
    assert download._address(file) == "https://example.invalid/x.onnx"
    monkeypatch.setenv("CALZOO_MIRROR", "https://mirror.invalid/folder/")
    assert download._address(file) == "https://mirror.invalid/folder/x.onnx"


@pytest.fixture
def shared(registry, tmp_path, monkeypatch):
    """Return a folder with a copy of the file; the checkout's own is gone, and there is no network."""
    folder = tmp_path / "shared disk"
    folder.mkdir()
    (registry.FOLDER / "outside" / NAME).rename(folder / NAME)
    monkeypatch.setenv("CALZOO_OFFLINE", "1")
    return folder


@pytest.mark.parametrize("address", [str, Path.as_uri, lambda folder: f"{folder}/"])
def test_a_mirror_may_be_a_folder(registry, shared, monkeypatch, tmp_path, address):
    monkeypatch.setenv("CALZOO_MIRROR", address(shared))
    path = registry.resolve("dots", kind="safetensors")
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == (shared / NAME).read_bytes()


def test_a_folder_without_the_file_says_so_and_leaves_nothing(registry, shared, monkeypatch, tmp_path):
    monkeypatch.setenv("CALZOO_MIRROR", str(shared / "empty"))
    with pytest.raises(CalzooError, match=r"could not be copied from .*empty.*No such file.*fetch --all DIR"):
        registry.resolve("dots", kind="safetensors")
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_made_is_not_the_mirrors_fault(registry, shared, monkeypatch, tmp_path):
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("CALZOO_MIRROR", str(shared))
    monkeypatch.setenv("CALZOO_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(
        CalzooError, match=r"could not be copied from .*occupied, or let CALZOO_CACHE name another"
    ):
        registry.resolve("dots", kind="safetensors")


def test_another_file_of_a_folder_is_refused(registry, shared, monkeypatch, tmp_path):
    (shared / NAME).write_text("something else")
    monkeypatch.setenv("CALZOO_MIRROR", str(shared))
    with pytest.raises(CalzooError, match=r"was refused and nothing was kept.*does not match the known hash"):
        registry.resolve("dots", kind="safetensors")
    assert kept(tmp_path) == []


def test_the_cache_is_the_argument_then_the_variable_then_the_system_s(monkeypatch, tmp_path):
    monkeypatch.setenv("CALZOO_CACHE", str(tmp_path / "b"))
    assert download.cache_folder(tmp_path / "a") == tmp_path / "a"
    assert download.cache_folder() == tmp_path / "b"
    monkeypatch.delenv("CALZOO_CACHE")
    assert download.cache_folder().name == "calzoo"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_offline_is_any_value_but_0(monkeypatch, value, offline):
    monkeypatch.setenv("CALZOO_OFFLINE", value)
    assert download.is_offline() is offline
