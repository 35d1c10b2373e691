"""What stands in the way of the Hub is named with the variable that decides it, after one retry at most."""

import http.server
import ssl
import subprocess
import threading
import time

import pytest
from huggingface_hub import constants

from hf_lesionseg.errors import HubError, ModelError
from hf_lesionseg.hub import transport
from hf_lesionseg.hub.transport import check_settings, explain, why_no_cache, why_unreachable
from hf_lesionseg.inference.loading import load_model

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "HF_HOME", "HF_HUB_CACHE")
NOBODY = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No settings of this machine, and a new HTTP client, which reads them, before and after each test."""
    from huggingface_hub.utils import close_session

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    close_session()
    yield
    close_session()


@pytest.fixture
def server():
    """Make a server on loopback that answers everything with 404, and counts; with TLS by a certificate file."""
    running = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_args):
            pass

    def start(certificate=None):
        serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            serving.socket = context.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        running.append(serving)
        return f"127.0.0.1:{serving.server_address[1]}"

    yield start
    for serving in running:
        serving.shutdown()
        serving.server_close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HTTPS_PROXY", "ftp://127.0.0.1:3128", r"HTTPS_PROXY is ftp://127\.0\.0\.1:3128, and no proxy speaks ftp"),
        ("https_proxy", "quic://proxy", "https_proxy is quic://proxy, and no proxy speaks quic"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", r"SSL_CERT_FILE is /nowhere/ca\.pem, which is not a file"),
    ],
)
def test_variables_with_which_nothing_can_be_asked(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(HubError, match=told):
        check_settings("https://huggingface.co")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_without_its_package(monkeypatch, scheme):
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:secret@proxy:1080")
    monkeypatch.setattr(transport.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HubError, match=r"ALL_PROXY is .*SOCKS needs another package: pip install socksio") as told:
        check_settings("https://huggingface.co")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8000", "hub.local", "ftp://hub.local", "https://"])
def test_an_endpoint_without_http(endpoint):
    with pytest.raises(HubError, match=r"HF_ENDPOINT is .*, which is not an address; give it with http://"):
        check_settings(endpoint)


@pytest.mark.parametrize("value", ["http://proxy:3128", "proxy:3128", "https://me:secret@proxy", ""])
def test_usual_proxies_are_left_alone(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    check_settings("https://huggingface.co")


def test_an_answer_of_any_kind_is_one(server):
    assert why_unreachable(f"http://{server()}") is None


def test_an_endpoint_where_nobody_answers_is_tried_twice_and_quickly():
    start = time.monotonic()
    assert why_unreachable(f"http://{NOBODY}").startswith(f"HF_ENDPOINT, http://{NOBODY}, cannot be reached (")
    assert 1 <= time.monotonic() - start < 10


def test_a_proxy_where_nobody_answers_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{NOBODY}")
    told = why_unreachable("https://huggingface.co")
    assert told.startswith(f"the proxy of HTTPS_PROXY, http://...@{NOBODY}, does not connect (")
    assert "secret" not in told


def test_no_proxy_is_heard(monkeypatch, server):
    from huggingface_hub.utils import close_session

    monkeypatch.setenv("HTTP_PROXY", f"http://{NOBODY}")
    endpoint = f"http://{server()}"
    assert "the proxy of HTTP_PROXY" in why_unreachable(endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()
    assert why_unreachable(endpoint) is None


@pytest.fixture
def certificate(tmp_path):
    path = tmp_path / "own.pem"
    settings = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    settings += ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path, "-out", tmp_path / "public.pem"]
    try:
        subprocess.run(["openssl", "req", *settings, *files], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl")
    path.write_text(path.read_text() + (tmp_path / "public.pem").read_text())
    return path


def test_tls(server, certificate, monkeypatch):
    from huggingface_hub.utils import close_session

    endpoint = f"https://{server(certificate)}"
    assert f"the certificate of {endpoint} is not trusted here; set SSL_CERT_FILE" in why_unreachable(endpoint)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    close_session()
    assert why_unreachable(endpoint) is None
    plain = server()
    assert "answers without TLS; is its address http://" in why_unreachable(f"https://{plain}")


def test_what_may_pass_by_itself_and_what_not():
    assert explain(OSError("[SSL: CERTIFICATE_VERIFY_FAILED]"), "https://hub")[1] is False
    assert explain(OSError("Connection reset by peer"), "https://hub")[1] is True


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert why_no_cache() is None
    assert list((tmp_path / "hub").iterdir()) == []
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/proc/nowhere/hub")
    monkeypatch.setenv("HF_HOME", "/proc/nowhere")
    assert why_no_cache().startswith("the Hub's cache /proc/nowhere/hub cannot be written (")
    assert "HF_HOME puts it there); set HF_HOME to a folder of your own" in why_no_cache()


def test_loading_names_it_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", f"http://{NOBODY}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"org/net: no such folder, not in the local cache, and HF_ENDPOINT, .* cannot be reached"
    ) as told:
        load_model("org/net")
    assert "\n" not in str(told.value)
