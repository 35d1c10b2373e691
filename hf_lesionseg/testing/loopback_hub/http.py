"""One HTTP connection of the loopback Hub: reading, answering, refusing, breaking, and who may do what.

Refusals carry the headers ``X-Error-Code`` and ``X-Error-Message`` by which ``huggingface_hub`` picks its exceptions.
"""

import dataclasses
import json
import re
import socket
import struct
import time
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler

KINDS = "models|datasets|spaces|kernels"
USER, ORGANISATION = "tester", "org"
_CHUNK = 2**16


@dataclasses.dataclass(frozen=True)
class Request:
    """One line of the server's log; ``sent`` counts the bytes of the answer's body, status 0 is a cut connection."""

    method: str
    path: str
    status: int
    sent: int


class Refused(Exception):
    """The request is answered with an error; raised anywhere below ``HubRequestHandler.answer``."""

    def __init__(self, status, message, code=None, headers=None, body=None):
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.body = {"error": message, **(body or {})}


class ConnectionCut(Exception):
    """The connection was dropped on purpose."""


def route(method, pattern):
    """Mark a handler's method as the answer to ``method`` on paths that match ``pattern``."""
    pattern = pattern.replace("{kind}", rf"(?P<kind>{KINDS})").replace("{repo}", r"(?P<repo>[^/]+/[^/]+)")

    def mark(function):
        function.routes = [*getattr(function, "routes", []), (method, re.compile(pattern))]
        return function

    return mark


class HubRequestHandler(BaseHTTPRequestHandler):
    """Answers one connection. ``server.hub`` (a ``LoopbackHub``) holds store, faults, token and log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    # -- one request

    def answer(self):
        address = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(address.query)
        self.hub, self.store = self.server.hub, self.server.hub.store
        self.body_read = False
        time.sleep(self.hub.faults.delay_s)
        try:
            if status := self.hub.faults.status_for(self.command, address.path):
                raise Refused(status, f"injected fault {status}")
            self.check_token()
            function, values = self.find_route(address.path)
            function(self, **values)
        except Refused as refusal:
            self.reply(refusal.body, refusal.status, refusal.headers)
        except ConnectionCut:
            self.log_answer(0, 0)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # the client must get an answer, and the person who runs the tests the cause
            traceback.print_exc()
            self.reply({"error": repr(error)}, 500)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    @classmethod
    def routes(cls):
        """All ``(method, pattern, function)`` that :func:`route` has marked."""
        if "_routes" not in vars(cls):
            functions = [function for function in vars(cls).values() if hasattr(function, "routes")]
            cls._routes = [(*rule, function) for function in functions for rule in function.routes]
        return cls._routes

    def find_route(self, path):
        """The function that answers, and the values that the path gives its parameters."""
        method = "GET" if self.command == "HEAD" else self.command
        for route_method, pattern, function in self.routes():
            if route_method == method and (match := pattern.fullmatch(path)):
                values = match.groupdict().items()
                return function, {name: urllib.parse.unquote(text) for name, text in values if text is not None}
        raise Refused(404, f"no route for {method} {path}")

    def log_message(self, *_):
        """Silent: the log that tests read is ``LoopbackHub.requests``."""

    def log_answer(self, status, sent):
        self.hub.requests.append(Request(self.command, self.path, status, sent))

    def chunks(self):
        """Yield the request's body in pieces, with a Content-Length or chunked."""
        self.body_read = True
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
                yield from self.read_exactly(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield from self.read_exactly(int(self.headers.get("Content-Length") or 0))

    def read_exactly(self, left):
        while left:
            chunk = self.rfile.read(min(_CHUNK, left)) if left > 0 else b""
            if not chunk:
                raise ConnectionResetError("the client went away in the middle of the body")
            left -= len(chunk)
            yield chunk

    def json(self):
        return json.loads(b"".join(self.chunks()) or b"{}")

    def reply(self, content=None, status=200, headers=None, chunks=None, length=None):
        """Send ``content`` as JSON, or ``chunks`` of bytes of a known total ``length``."""
        if not self.body_read:  # an unread body would be taken for the next request of this connection
            for _ in self.chunks():
                pass
        if chunks is None:
            data = json.dumps(content).encode() if content is not None else b""
            chunks, length = [data], len(data)
            headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.log_answer(status, 0 if self.command == "HEAD" else length)  # before the client can go on to read the log
        if self.command != "HEAD":
            for chunk in chunks:
                self.wfile.write(chunk)

    def cut_connection(self):
        """Reset the TCP connection, as a dying link does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        raise ConnectionCut

    # -- who may do what

    @property
    def authorisation(self):
        return self.headers.get("Authorization")

    def check_token(self):
        wrong = self.hub.token is not None and self.authorisation not in (None, f"Bearer {self.hub.token}")
        if wrong:
            raise Refused(401, "Invalid credentials in Authorization header")

    def require_write(self):
        if self.hub.token is not None and self.authorisation is None:
            raise Refused(401, "Invalid username or password.")

    def require_namespace(self, organisation):
        if organisation not in (USER, ORGANISATION):
            raise Refused(403, f"You don't have the rights to create a model under the namespace {organisation!r}")

    def find(self, kind, repo, revision=None):
        """Key of a repository that the caller may see, and the commit that ``revision`` names."""
        key = f"{(kind or 'models')[:-1]}/{repo}"
        record = self.store.repos.get(key)
        if record is None or (record["private"] and self.authorisation is None):
            raise Refused(404 if self.authorisation else 401, "Repository not found", "RepoNotFound")
        if revision is None:
            return key
        commit_id = self.store.resolve(key, revision)
        if commit_id is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return key, commit_id

    def url(self, path):
        return f"http://{self.headers['Host']}/{path}"
