"""A hub on loopback, for `huggingface_hub` as it streams a dataset, pushes a model or reads one."""

import base64
import http.server
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from urllib.parse import unquote, urlsplit

from tests.loopback import serving

_API = re.compile(
    r"/api/(datasets|models)/(?P<id>[^/]+/[^/]+)"
    r"(/(?P<what>revision|tree|paths-info|auth-check|preupload|commit))?(/(?P<rest>.*))?"
)
_FILE = re.compile(r"(/datasets)?/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_LARGE_FILES = re.compile(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch")


def commit_of(files: dict[str, bytes]) -> str:
    return sha1(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()


@dataclass
class Repository:
    """`revisions` are the files of each branch or tag; `refuses` is an error of the hub, as `GatedRepo`."""

    revisions: dict[str, dict[str, bytes]]
    refuses: str = ""

    def files(self, revision: str) -> dict[str, bytes] | None:
        commits = {commit_of(files): files for files in self.revisions.values()}
        return {**commits, **self.revisions}.get(revision)


@dataclass
class Hub:
    """`drops` counts down, by `owner/name/path`, answers that break off in the middle; `fetched` counts bytes sent.

    `large_files` are uploads by their sha256, which a commit then names.
    """

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    fetched: Counter[str] = field(default_factory=Counter)
    large_files: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def open_hub() -> Iterator[Hub]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits for 40 ms

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if match := _FILE.fullmatch(path):
                self._file(**match.groupdict())
            elif match := _API.fullmatch(path):
                self._api(match["id"], match["what"] or "", match["rest"] or "")
            elif path == "/api/validate-yaml":
                self._body()
                self._send(200, json.dumps({"errors": [], "warnings": []}).encode())
            elif path == "/api/repos/create":
                asked = json.loads(self._body())
                id = f"{asked.get('organization', 'someone')}/{asked['name']}"
                hub.repositories.setdefault(id, Repository({"main": {}}))
                self._send(200, json.dumps({"url": f"{hub.url}/{id}", "id": id}).encode())
            elif _LARGE_FILES.fullmatch(path):
                objects = json.loads(self._body())["objects"]
                to = [{**each, "actions": {"upload": {"href": f"{hub.url}/upload/{each['oid']}"}}} for each in objects]
                self._send(200, json.dumps({"transfer": "basic", "objects": to}).encode())
            elif path.startswith("/upload/"):
                hub.large_files[path.removeprefix("/upload/")] = self._body()
                self._send(200, b"")
            else:
                self._send(404, b"")

        do_HEAD = do_POST = do_PUT = do_GET

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _file(self, id: str, revision: str, path: str) -> None:
            files = self._repository_files(id, revision)
            if files is None:
                return
            if path not in files:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit_of(files)})
                return
            content = files[path]
            headers = {"X-Repo-Commit": commit_of(files), "ETag": f'"{sha1(content).hexdigest()}"'}
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked is None or self.command == "HEAD":
                self._send(200, content, headers)
                return
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            part = content[first : last + 1]
            self._send(206, part, {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}, f"{id}/{path}")

        def _api(self, id: str, what: str, rest: str) -> None:
            revision, _, under = rest.partition("/")
            files = self._repository_files(id, revision if what not in ("", "auth-check") else "main")
            if files is None:
                return
            if what == "tree":
                self._send(200, json.dumps(_listing(files, under)).encode())
            elif what == "preupload":
                modes = [
                    {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular"}
                    for each in json.loads(self._body())["files"]
                ]
                self._send(200, json.dumps({"files": [{**mode, "shouldIgnore": False} for mode in modes]}).encode())
            elif what == "commit":
                hub.repositories[id].revisions[revision] = files | self._committed()
                commit = commit_of(hub.repositories[id].revisions[revision])
                about = {"commitUrl": f"{hub.url}/{id}/commit/{commit}", "commitOid": commit}
                self._send(200, json.dumps(about).encode())
            elif what == "paths-info":
                asked = json.loads(self._body())["paths"]
                self._send(200, json.dumps([each for each in _entries(files) if each["path"] in asked]).encode())
            else:
                siblings = [{"rfilename": name} for name in files]
                self._send(200, json.dumps({"id": id, "sha": commit_of(files), "siblings": siblings}).encode())

        def _committed(self) -> dict[str, bytes]:
            """The files of a commit, one JSON object a line."""
            files = {}
            for line in map(json.loads, self._body().splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.large_files[value["oid"]]
            return files

        def _repository_files(self, id: str, revision: str) -> dict[str, bytes] | None:
            repository = hub.repositories.get(id)
            if repository is None:
                self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
            elif repository.refuses:
                self._send(401, b"", {"X-Error-Code": repository.refuses})
            elif (files := repository.files(revision)) is None:
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            else:
                return files
            return None

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, name: str = "") -> None:
            self.send_response(status)
            for header, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if hub.drops[name] > 0:
                hub.drops[name] -= 1
                body, self.close_connection = body[: len(body) // 2], True
            if self.command != "HEAD":
                self.wfile.write(body)
                hub.fetched[name] += len(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as url:
        hub = Hub(url)
        yield hub


def _entries(files: dict[str, bytes]) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
        for name, content in files.items()
    ]


def _listing(files: dict[str, bytes], under: str) -> list[dict[str, object]]:
    """What lies directly in a folder, as the hub lists it."""
    prefix = f"{under}/" if under else ""
    below = {name: content for name, content in files.items() if name.startswith(prefix)}
    folders = {prefix + name[len(prefix) :].split("/")[0] for name in below if "/" in name[len(prefix) :]}
    listed = [{"type": "directory", "path": name, "size": 0, "oid": ""} for name in sorted(folders)]
    return [*listed, *_entries({name: below[name] for name in below if "/" not in name[len(prefix) :]})]
