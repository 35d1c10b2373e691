"""The endpoints of the Hub's REST protocol, as far as its clients use them: one method of :class:`Handler` each."""

import base64
import hashlib
import json
import re
import urllib.parse

import yaml

from .http import KINDS, ORGANISATION, USER, HubRequestHandler, Refused, route
from .store import lfs_pointer, wants_lfs


class Handler(HubRequestHandler):
    """Accounts, repositories, references, upload and download."""

    # -- account

    @route("GET", r"/api/whoami-v2")
    def whoami(self):
        if self.authorisation is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.reply(
            {
                "type": "user",
                "id": "1",
                "name": USER,
                "fullname": USER,
                "email": None,
                "canPay": False,
                "isPro": False,
                "periodEnd": None,
                "orgs": [{"type": "org", "id": "2", "name": ORGANISATION, "fullname": ORGANISATION}],
                "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}},
            }
        )

    @route("POST", r"/api/validate-yaml")
    def validate_yaml(self):
        text = self.json().get("content", "")
        try:
            front_matter(text)
        except yaml.YAMLError as error:
            return self.reply({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return self.reply({"errors": [], "warnings": []})

    # -- repositories

    @route("POST", r"/api/repos/create")
    def create_repo(self):
        self.require_write()
        asked = self.json()
        organisation = asked.get("organization") or USER
        self.require_namespace(organisation)
        kind, repo = asked.get("type") or "model", f"{organisation}/{asked['name']}"
        url = self.url(repo if kind == "model" else f"{kind}s/{repo}")
        with self.store.lock:
            if f"{kind}/{repo}" in self.store.repos:
                raise Refused(409, f"You already created this {kind} repo", body={"url": url})
            self.store.create(f"{kind}/{repo}", asked.get("visibility") == "private" or asked.get("private") is True)
        self.reply({"url": url, "name": repo, "id": "1"})

    @route("DELETE", r"/api/repos/delete")
    def delete_repo(self):
        self.require_write()
        asked = self.json()
        repo = f"{asked.get('organization') or USER}/{asked['name']}"
        if not self.store.delete(f"{asked.get('type') or 'model'}/{repo}"):
            raise Refused(404, "Repository not found", "RepoNotFound")
        self.reply({})

    @route("GET", r"/api/{kind}")
    def list_repos(self, kind):
        author, search = self.query.get("author", [None])[0], self.query.get("search", [""])[0].lower()
        listed = []
        for key, record in sorted(self.store.repos.items()):
            type_, owner, _ = key.split("/")
            visible = not record["private"] or self.authorisation is not None
            if type_ == kind[:-1] and author in (None, owner) and search in key.lower() and visible:
                listed.append(self.describe(key, self.store.resolve(key, "main")))
        self.reply(listed)

    @route("GET", r"/api/{kind}/{repo}")
    @route("GET", r"/api/{kind}/{repo}/revision/(?P<revision>[^/]+)")
    def repo_info(self, kind, repo, revision="main"):
        key, commit_id = self.find(kind, repo, revision)
        info = self.describe(key, commit_id)
        files = self.store.files(key, commit_id)
        info["siblings"] = [{"rfilename": path} for path in sorted(files)]
        if "config.json" in files:
            config = json.loads(self.text(files["config.json"]))
            info["config"] = {k: config[k] for k in ("architectures", "model_type", "auto_map") if k in config}
        self.reply(info)

    def describe(self, key, commit_id):
        """The fields that a listing shows of a repository."""
        repo, commit = self.store.repos[key], self.store.repos[key]["commits"][commit_id]
        readme = commit["files"].get("README.md")
        card = front_matter(self.text(readme)) if readme else {}
        names = {name: card[name] for name in ("library_name", "pipeline_tag") if card.get(name)}
        _, owner, name = key.split("/")
        return {
            "_id": hashlib.sha1(key.encode()).hexdigest()[:24],
            "id": f"{owner}/{name}",
            "modelId": f"{owner}/{name}",
            "author": owner,
            "sha": commit_id,
            "lastModified": commit["date"],
            "createdAt": repo["created"],
            "private": repo["private"],
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "usedStorage": 0,
            "tags": [*(card.get("tags") or []), *names.values()],
            "cardData": card or None,
            **names,
            **({"model-index": card["model-index"]} if card.get("model-index") else {}),
        }

    def text(self, record):
        return self.store.blob(record["sha256"]).read_text("utf-8")

    @route("PUT", r"/api/{kind}/{repo}/settings")
    def settings(self, kind, repo):
        self.require_write()
        asked = self.json()
        self.store.set_private(
            self.find(kind, repo), asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        self.reply({})

    @route("GET", r"/api/{kind}/{repo}/auth-check")
    def auth_check(self, kind, repo):
        self.find(kind, repo)
        self.reply({})

    # -- branches, tags, history

    @route("GET", r"/api/{kind}/{repo}/refs")
    def refs(self, kind, repo):
        record = self.store.repos[self.find(kind, repo)]
        listing = {
            long: [{"name": name, "ref": f"refs/{short}/{name}", "targetCommit": commit_id} for name, commit_id in refs]
            for long, short, refs in (
                ("branches", "heads", record["branches"].items()),
                ("tags", "tags", record["tags"].items()),
            )
        }
        self.reply({**listing, "converts": []})

    @route("GET", r"/api/{kind}/{repo}/commits/(?P<revision>[^/]+)")
    def commits(self, kind, repo, revision):
        key, newest = self.find(kind, repo, revision)
        self.reply(
            [
                {"id": commit_id, "authors": [{"user": USER}], **{k: commit[k] for k in ("title", "message", "date")}}
                for commit_id, commit in self.store.history(key, newest)
            ]
        )

    @route("POST", r"/api/{kind}/{repo}/branch/(?P<name>[^/]+)")
    def create_branch(self, kind, repo, name):
        self.create_ref(kind, repo, "branches", name, self.json().get("startingPoint") or "main")

    @route("POST", r"/api/{kind}/{repo}/tag/(?P<revision>[^/]+)")
    def create_tag(self, kind, repo, revision):
        self.create_ref(kind, repo, "tags", self.json()["tag"], revision)

    def create_ref(self, kind, repo, table, name, start):
        self.require_write()
        key, commit_id = self.find(kind, repo, start)
        if name in self.store.repos[key][table]:
            raise Refused(409, f"Reference already exists: {name}")
        self.store.set_ref(key, table, name, commit_id)
        self.reply({})

    @route("DELETE", r"/api/{kind}/{repo}/(?P<table>branch|tag)/(?P<name>[^/]+)")
    def delete_ref(self, kind, repo, table, name):
        self.require_write()
        if not self.store.set_ref(self.find(kind, repo), {"branch": "branches", "tag": "tags"}[table], name, None):
            raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
        self.reply({})

    # -- upload: preupload, LFS, commit

    @route("POST", r"/api/{kind}/{repo}/preupload/(?P<revision>[^/]+)")
    def preupload(self, kind, repo, revision):
        self.require_write()
        key, commit_id = self.find(kind, repo, revision)
        present, plan = self.store.files(key, commit_id), []
        for file in self.json()["files"]:
            lfs = self.hub.lfs and wants_lfs(file["path"], file["size"])
            entry = {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            if old := present.get(file["path"]):  # the client skips a file whose id has not changed
                entry["oid"] = old["sha256"] if old["lfs"] else old["oid"]
            plan.append(entry)
        self.reply({"files": plan})

    @route("POST", rf"/(?:(?P<kind>{KINDS})/)?{{repo}}\.git/info/lfs/objects/batch")
    def lfs_batch(self, repo, kind=None):
        self.require_write()
        self.find(kind, repo)
        objects = []
        for asked in self.json()["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if not self.store.blob(asked["oid"]).exists():
                upload = {"href": self.url(f"_lfs/{asked['oid']}?size={asked['size']}"), "header": {}}
                verify = {"href": self.url(f"_lfs/{asked['oid']}/verify"), "header": {}}
                answer["actions"] = {"upload": upload, "verify": verify}
            objects.append(answer)
        self.reply({"transfer": "basic", "objects": objects})

    @route("PUT", r"/_lfs/(?P<sha256>[0-9a-f]{64})")
    def lfs_upload(self, sha256):
        chunks = self.chunks()
        if self.hub.faults.drop_uploads > 0:
            self.hub.faults.drop_uploads -= 1
            chunks = self.cut_after(chunks, int(self.query["size"][0]) // 2)
        if self.store.receive(chunks, sha256) is None:
            raise Refused(400, "the uploaded bytes have another SHA-256 than announced")
        self.reply({}, headers={"ETag": f'"{sha256}"'})

    def cut_after(self, chunks, limit):
        received = 0
        for chunk in chunks:
            received += len(chunk)
            yield chunk
            if received >= limit:
                self.cut_connection()

    @route("POST", r"/_lfs/(?P<sha256>[0-9a-f]{64})/verify")
    def lfs_verify(self, sha256):
        self.reply({}, 200 if self.store.blob(sha256).exists() else 404)

    @route("POST", r"/api/{kind}/{repo}/commit/(?P<revision>[^/]+)")
    def commit(self, kind, repo, revision):
        self.require_write()
        lines = [json.loads(line) for line in b"".join(self.chunks()).splitlines() if line.strip()]
        with self.store.lock:
            key, parent = self.find(kind, repo, revision)
            if revision not in self.store.repos[key]["branches"] or "create_pr" in self.query:
                raise Refused(400, "this server commits to branches only")
            files, header = dict(self.store.files(key, parent)), {}
            for line in lines:
                if line["key"] == "header":
                    header = line["value"]
                else:
                    files = self.apply(line["key"], line["value"], files)
            if header.get("parentCommit") not in (None, "", parent):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            commit_id = self.store.commit(key, revision, files, header["summary"], header.get("description") or "")
        if self.hub.faults.drop_commit_answers > 0:
            self.hub.faults.drop_commit_answers -= 1
            self.cut_connection()
        url = self.url(f"{repo}/commit/{commit_id}")
        self.reply({"success": True, "commitOid": commit_id, "commitUrl": url, "hookOutput": ""})

    def apply(self, operation, value, files):
        """The listing ``files`` after one line of a commit."""
        path = value["path"]
        if operation == "file":
            return {**files, path: self.store.add_regular(base64.b64decode(value["content"]))}
        if operation == "lfsFile":
            record = self.store.lfs_record(value["oid"])
            if record is None:
                raise Refused(400, f"LFS object {value['oid']} of {path} was never uploaded")
            return {**files, path: record}
        if operation == "deletedFile":
            if path not in files:
                raise Refused(400, f"cannot delete {path}: no such file")
            return {name: record for name, record in files.items() if name != path}
        if operation == "deletedFolder":
            return {name: record for name, record in files.items() if not name.startswith(path.rstrip("/") + "/")}
        raise Refused(400, f"unknown operation {operation}")

    # -- listing and download

    @route("GET", r"/api/{kind}/{repo}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
    def tree(self, kind, repo, revision, folder=""):
        key, commit_id = self.find(kind, repo, revision)
        files, prefix = self.store.files(key, commit_id), f"{folder.rstrip('/')}/" if folder else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        listed, folders = [], set()
        for path in sorted(path for path in files if path.startswith(prefix)):
            *parents, _ = path[len(prefix) :].split("/")
            folders.update(prefix + "/".join(parents[: depth + 1]) for depth in range(len(parents) if recursive else 1))
            if recursive or not parents:
                listed.append(tree_entry(path, files[path]))
        folders.discard(prefix)
        if folder and not listed and not folders:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound")
        self.reply([*listed, *map(tree_folder, sorted(folders))])

    @route("POST", r"/api/{kind}/{repo}/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, kind, repo, revision):
        key, commit_id = self.find(kind, repo, revision)
        body = b"".join(self.chunks())
        as_json = self.headers.get("Content-Type", "").startswith("application/json")
        paths = json.loads(body)["paths"] if as_json else urllib.parse.parse_qs(body.decode()).get("paths", [])
        files = self.store.files(key, commit_id)
        self.reply([tree_entry(path, files[path]) for path in paths if path in files])

    @route("GET", rf"/(?:(?P<kind>{KINDS})/)?{{repo}}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def download(self, repo, revision, path, kind=None):
        key, commit_id = self.find(kind, repo, revision)
        record = self.store.files(key, commit_id).get(path)
        if record is None:  # with the commit the client can remember that the file does not exist
            raise Refused(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit_id})
        size, etag = record["size"], f'"{record["sha256"] if record["lfs"] else record["oid"]}"'
        headers = {"X-Repo-Commit": commit_id, "ETag": etag, "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        if record["lfs"]:
            headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(size)}
        status, start, stop = 200, 0, size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked and self.command == "GET" and int(asked[1]) < size:
            start, stop = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else size, size)
            status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
        self.reply(None, status, headers, self.store.read(record["sha256"], start, stop), stop - start)


def front_matter(text):
    """Metadata between the ``---`` lines of a card; empty where it has none."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---", text, flags=re.DOTALL)
    return (yaml.safe_load(match[1]) or {}) if match else {}


def tree_entry(path, record):
    """A file as the tree and paths-info endpoints list it."""
    entry = {"type": "file", "path": path, "size": record["size"], "oid": record["oid"]}
    if record["lfs"]:
        pointer_size = len(lfs_pointer(record["sha256"], record["size"]))
        entry["lfs"] = {"oid": record["sha256"], "size": record["size"], "pointerSize": pointer_size}
    return entry


def tree_folder(path):
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
