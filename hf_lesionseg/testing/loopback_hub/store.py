"""What the loopback Hub keeps on disk: files by their SHA-256, and one JSON file with the repositories.

A repository is a set of branches and tags that point to commits; a commit is a full listing ``path -> FileRecord``.
Branches move only in :meth:`Store.commit`, so a reader sees a commit as a whole or not at all.
"""

import hashlib
import json
import threading
import uuid
from datetime import datetime, timezone
from pathlib import Path

#: Files that the Hub keeps in LFS whatever their size; anything above ``LFS_THRESHOLD`` bytes goes there too.
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".onnx", ".nii", ".gz", ".npz", ".png", ".so", ".zip")
LFS_THRESHOLD = 10 * 2**20
_CHUNK = 2**20


def git_blob_id(data):
    """SHA-1 that git gives to a file with this content: the Hub's ``oid`` and ETag of a regular file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256, size):
    """The text that git stores in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def timestamp():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def wants_lfs(path, size):
    return path.endswith(LFS_SUFFIXES) or size > LFS_THRESHOLD


class Store:
    """Repositories and their files under one folder.

    Parameters
    ----------
    root : path-like
        Created where it does not exist; an existing one is continued.
    """

    def __init__(self, root):
        self.root = Path(root)
        self.blobs = self.root / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        index = self.root / "repos.json"
        self.repos = json.loads(index.read_text("utf-8")) if index.exists() else {}

    def _save(self):
        aside = self.root / "repos.json.aside"
        aside.write_text(json.dumps(self.repos), "utf-8")
        aside.replace(self.root / "repos.json")

    # -- files

    def blob(self, sha256):
        """Path of the file with this SHA-256, whether it is stored or not."""
        return self.blobs / sha256

    def receive(self, chunks, expected_sha256=None):
        """Store a stream of bytes; return ``(sha256, size)``, or None where the hash is not the expected one.

        The bytes go to a temporary file first, so an upload that breaks off leaves no blob.
        """
        aside = self.blobs / f"{uuid.uuid4().hex}.aside"
        digest, size = hashlib.sha256(), 0
        try:
            with aside.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            sha256 = digest.hexdigest()
            if expected_sha256 not in (None, sha256):
                return None
            aside.replace(self.blob(sha256))
            return sha256, size
        finally:
            aside.unlink(missing_ok=True)

    def read(self, sha256, start=0, stop=None):
        """Yield the bytes ``start`` to ``stop`` of a stored file in pieces."""
        with self.blob(sha256).open("rb") as file:
            file.seek(start)
            left = (file.seek(0, 2) if stop is None else stop) - start
            file.seek(start)
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def add_regular(self, data):
        """Store ``data`` and return the record of a regular (git) file."""
        sha256, size = self.receive([data])
        return {"sha256": sha256, "size": size, "oid": git_blob_id(data), "lfs": False}

    def lfs_record(self, sha256):
        """Record of an LFS file that was uploaded before, or None."""
        if not self.blob(sha256).exists():
            return None
        size = self.blob(sha256).stat().st_size
        return {"sha256": sha256, "size": size, "oid": git_blob_id(lfs_pointer(sha256, size)), "lfs": True}

    # -- repositories; a key is "model/org/name"

    def create(self, key, private):
        """Make a repository with the initial commit that the Hub makes."""
        with self.lock:
            self.repos[key] = {
                "private": private,
                "created": timestamp(),
                "branches": {"main": None},
                "tags": {},
                "commits": {},
            }
            attributes = self.add_regular(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
            self.commit(key, "main", {".gitattributes": attributes}, "initial commit")

    def delete(self, key):
        with self.lock:
            existed = self.repos.pop(key, None) is not None
            self._save()
        return existed

    def resolve(self, key, revision):
        """Commit id of a branch, tag or commit id; None where there is none."""
        repo = self.repos[key]
        for table in (repo["branches"], repo["tags"]):
            if revision in table:
                return table[revision]
        return revision if revision in repo["commits"] else None

    def commit(self, key, branch, files, title, description=""):
        """Point ``branch`` to a new commit with exactly ``files``; return its id."""
        with self.lock:
            repo = self.repos[key]
            parent = repo["branches"][branch]
            identity = json.dumps([key, branch, title, files, parent, len(repo["commits"])], sort_keys=True)
            commit_id = hashlib.sha1(identity.encode()).hexdigest()
            repo["commits"][commit_id] = {
                "title": title,
                "message": description,
                "date": timestamp(),
                "files": files,
                "parent": parent,
            }
            repo["branches"][branch] = commit_id
            self._save()
        return commit_id

    def files(self, key, commit_id):
        return self.repos[key]["commits"][commit_id]["files"]

    def history(self, key, commit_id):
        """Yield ``(id, commit)`` from ``commit_id`` back to the first."""
        while commit_id:
            commit = self.repos[key]["commits"][commit_id]
            yield commit_id, commit
            commit_id = commit["parent"]

    def set_ref(self, key, kind, name, commit_id):
        """Point a branch or tag (``kind`` "branches" or "tags") to a commit; ``None`` removes it.

        Returns whether the reference existed before.
        """
        with self.lock:
            table = self.repos[key][kind]
            existed = name in table
            if commit_id is None:
                table.pop(name, None)
            else:
                table[name] = commit_id
            self._save()
        return existed

    def set_private(self, key, private):
        with self.lock:
            self.repos[key]["private"] = private
            self._save()
