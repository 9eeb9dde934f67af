"""A small server that speaks the hub's protocol as its client uses it, with the faults that a real one may have.

It answers information about a repository (``/api/…``) and its files (``…/resolve/…``): small files directly, under the
checksum that git gives them; large ones (Git LFS) by a redirection to another address, under their sha256.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".parquet", ".safetensors")  # what the hub keeps in LFS


def git_checksum(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """One repository at one commit. The same repository may be served at several.

    ``fault`` is one of:
        ``gated``, ``gated_401``: the files are refused with 403 or 401; ``private``: everything with 401
        ``broken``: 500 for files; ``down``: 500 for everything
        ``cut``: the connection drops in the middle of a large file; ``stall``: stops there until ``Hub.release``
        ``altered``: large files have other content of the same length; ``altered_small``: small ones
        ``longer``: large files have more bytes than announced
    """

    files: dict
    commit: str
    fault: str = ""

    def checksum(self, name):
        content = self.files[name]
        return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_checksum(content)

    def served(self, name):
        """The bytes that are really sent."""
        content = self.files[name]
        large = name.endswith(LARGE)
        if (self.fault, large) in {("altered", True), ("altered_small", False)}:
            return content[:-1] + bytes([content[-1] ^ 1])
        return content + b"more" if self.fault == "longer" and large else content

    def siblings(self):
        for name, content in self.files.items():
            entry = {"rfilename": name, "size": len(content), "blobId": git_checksum(content)}
            if name.endswith(LARGE):
                entry["lfs"] = {"sha256": self.checksum(name), "size": len(content), "pointerSize": 130}
            yield entry


@dataclass
class Hub:
    """The repositories that are served, and what was asked for."""

    repos: dict = field(default_factory=dict)  # (kind, "org/name") → commit → Repo; the first one is the main branch's
    asked: list = field(default_factory=list)  # (method, path, Range header)
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def add(self, kind, name, files, commit="c0ffee" * 6 + "abcd", fault=""):
        """Serve files (a folder, or name → bytes) as ``org/name``."""
        if not isinstance(files, dict):
            files = {
                path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()
            }
        repo = Repo(files, commit, fault)
        self.repos.setdefault((kind, name), {})[commit] = repo
        return repo

    def asked_for(self, method, end):
        """Range headers of the requests whose path ends so."""
        return [range_ for way, path, range_ in self.asked if way == method and path.endswith(end)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def log_message(self, *_):
        pass

    def answer(self):
        url = urlsplit(self.path)
        path = unquote(url.path).strip("/")
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        if path.startswith("api/"):
            self.information(path, parse_qs(url.query))
        elif path.startswith("storage/"):
            _, kind, commit, org, name, file = path.split("/", 5)
            self.content(self.hub.repos[kind, f"{org}/{name}"][commit], file)
        else:
            kind, rest = ("dataset", path[9:]) if path.startswith("datasets/") else ("model", path)
            org, name, _, revision, file = rest.split("/", 4)
            self.resolve(kind, f"{org}/{name}", revision, file)

    def information(self, path, query):
        _, kinds, org, name, *rest = path.split("/")
        kind, full = kinds.removesuffix("s"), f"{org}/{name}"
        repo = self.repository(kind, full, rest[1] if rest else "main")
        if repo is None:
            return
        siblings = list(repo.siblings())
        if "blobs" not in query:
            siblings = [{"rfilename": each["rfilename"]} for each in siblings]
        self.reply(200, json.dumps({"id": full, "sha": repo.commit, "siblings": siblings}).encode())

    def resolve(self, kind, full, revision, file):
        repo = self.repository(kind, full, revision)
        if repo is None:
            return
        if repo.fault in ("gated", "gated_401"):
            self.reply(403 if repo.fault == "gated" else 401, b"", {"X-Error-Code": "GatedRepo"})
        elif repo.fault == "broken":
            self.reply(500, b"")
        elif file not in repo.files:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit})
        elif file.endswith(LARGE):
            where = f"{self.hub.address}/storage/{kind}/{repo.commit}/{full}/{file}"
            linked = {"X-Linked-Size": str(len(repo.files[file])), "X-Linked-ETag": f'"{repo.checksum(file)}"'}
            self.reply(302, b"", {"Location": where, "X-Repo-Commit": repo.commit, **linked})
        else:
            self.content(repo, file)

    def repository(self, kind, full, revision):
        """The repository at this revision, or None once an error has been sent."""
        commits = self.hub.repos.get((kind, full), {})
        main = next(iter(commits.values()), None)
        repo = main if revision == "main" else commits.get(revision, main)
        if repo is None:
            self.reply(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        elif repo.fault == "private":  # what strangers are told of repositories that do not exist, too
            self.reply(401, b'{"error": "Invalid username or password."}')
        elif repo.fault == "down":
            self.reply(500, b"")
        elif revision not in ("main", repo.commit):
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return repo
        return None

    def content(self, repo, file):
        body = repo.served(file)
        headers = {"ETag": f'"{repo.checksum(file)}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        first, status = 0, 200
        if asked := self.headers.get("Range"):
            first = int(asked.removeprefix("bytes=").partition("-")[0])
            if first >= len(body):
                self.reply(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            headers["Content-Range"], status = f"bytes {first}-{len(body) - 1}/{len(body)}", 206
        self.reply(status, body[first:], headers, repo.fault if file.endswith(LARGE) else "")

    def reply(self, status, body, headers=None, fault=""):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault not in ("cut", "stall"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) * 9 // 10])
        self.wfile.flush()
        if fault == "stall":
            self.hub.stalled.set()
            self.hub.release.wait(30)
        self.close_connection = True


def serve():
    """Yield a running hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that was killed is no news
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    hub.release.set()
    server.shutdown()
    server.server_close()
    thread.join()
