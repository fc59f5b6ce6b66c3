"""Initial weights from the network: by checksum, whole or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import SOURCES, put, refused, run

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.readers.download import download

# urllib leaves the socket of a refused connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

CONTENT = bytes(range(256)) * 9000  # more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/short" else CONTENT)

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_arrives_whole(server, tmp_path, capsys):
    download(f"{server}/net.pth", SHA256, tmp_path / "new" / "net.pth")
    assert (tmp_path / "new" / "net.pth").read_bytes() == CONTENT
    assert "of 2 MiB" in capsys.readouterr().out
    download((tmp_path / "new" / "net.pth").as_uri(), SHA256.upper(), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT


BAD = {
    "another checksum": ("/net.pth", "0" * 64, "expected 000"),
    "cut off": ("/short", SHA256, "after 1000 of"),
    "not there": ("/missing", SHA256, "Not Found"),
}


@pytest.mark.parametrize(("name", "sha256", "message"), BAD.values(), ids=BAD)
def test_anything_else_leaves_nothing(server, tmp_path, name, sha256, message):
    refused(lambda: download(server + name, sha256, tmp_path / "net.pth"), server + name, message, "by hand", sha256)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "data:,x", "http://127.0.0.1:1/x", "http://", "x"])
def test_urls_that_lead_nowhere(url, tmp_path):
    refused(lambda: download(url, SHA256, tmp_path / "net.pth"), url, "by hand")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def raw(raw) -> dict:
    put(raw, "classifiers.base_cnn.initial", {"url": "https://a.example/b/net v1.pth?x=1", "sha256": SHA256})
    return raw


def job(raw: dict):
    return Plan(Config(raw)).job("train_classifier", {"dataset": "voc", "seed": "0", "classifier": "eps"})


def test_the_job_waits_for_the_file_and_knows_its_checksum(raw):
    path = f"data/weights/{SHA256[:12]}-net_v1.pth"
    assert job(raw).inputs["initial"] == path
    assert job(raw).settings["block"]["initial"] == {"sha256": SHA256}
    plan = Plan(Config(raw))
    assert ("weights", {"file": Path(path).name}) in list(plan.jobs("voc"))
    settings = plan.job("weights", {"file": Path(path).name}).settings
    assert settings == {"url": "https://a.example/b/net v1.pth?x=1", "sha256": SHA256}
    with pytest.raises(UserError, match="no block's initial is downloaded to data/weights/other"):
        plan.job("weights", {"file": "other"})


def test_another_mirror_makes_nothing_stale(raw):
    before = job(raw).settings
    put(raw, "classifiers.base_cnn.initial", {"url": "https://b.example/net.pth", "sha256": SHA256})
    assert job(raw).settings == before


@pytest.mark.parametrize(
    "url", ["https://a.example/..", "https://a.example/%2e%2e%2fx", "https://a.example/", "file:///a\\..\\b"]
)
def test_names_of_files_are_names(raw, url):
    put(raw, "classifiers.base_cnn.initial", {"url": url, "sha256": SHA256})
    path = Path(job(raw).inputs["initial"])
    assert path.parent == Path("data/weights") and path.name.startswith(f"{SHA256[:12]}-")


def test_a_checksum_is_one(raw):
    put(raw, "classifiers.base_cnn.initial", {"url": "https://a.example/x", "sha256": "abc"})
    with pytest.raises(UserError, match=r"config: classifiers\.\w+\.initial\.sha256: "):
        Config(raw)


def test_snakemake_fetches_what_a_training_starts_from(tmp_path, server):
    """The rule runs, the file is where the job looks for it, and it is fetched once."""
    overlay = tmp_path / "overlay.yaml"
    initial = {"url": f"{server}/net.pth", "sha256": SHA256}
    overlay.write_text(yaml.safe_dump({"classifiers": {"base_cnn": {"initial": initial}}}))
    name = f"data/weights/{SHA256[:12]}-net.pth"
    result = run(SOURCES, name, configfiles=["config.yaml", overlay], options=["--directory", tmp_path])
    assert result.returncode == 0, result.stderr
    assert (tmp_path / name).read_bytes() == CONTENT
