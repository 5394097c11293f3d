#!/usr/bin/env python3
"""Follows a share: keeps a folder like it, in one direction, and never sends anything.

    pip install requests websockets
    follow.py http://127.0.0.1:8080 "$TOKEN" SHARE DIR

Written from docs/filesync.md alone, as a start for clients in other languages. The folder is the
follower's own: what is changed in it by others is put right or removed. `--once` ends when all is there.
"""

import hashlib
import json
import os
import pathlib
import random
import shutil
import sys
import time
import urllib.parse
import uuid

import requests
import websockets.exceptions
from websockets.sync.client import connect

STATE = ".follow.json"
DEVICE = "follow-" + uuid.uuid4().hex[:12]


class Follower:
    def __init__(self, api, token, share, folder):
        self.api, self.share, self.folder = api.rstrip("/"), share, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.token = token
        self.http = requests.Session()
        self.http.headers["authorization"] = f"Bearer {token}"
        self.cursor, self.since, self.nodes = None, None, {}
        if (self.folder / STATE).exists():
            kept = json.loads((self.folder / STATE).read_text())
            if kept["share"] == share:
                self.cursor, self.since, self.nodes = kept["cursor"], kept["since"], kept["nodes"]

    def save(self):
        """Keeps the cursor with its change id, and the nodes, together."""
        kept = {"share": self.share, "cursor": self.cursor, "since": self.since, "nodes": self.nodes}
        part = self.folder / (STATE + ".part")
        part.write_text(json.dumps(kept))
        part.replace(self.folder / STATE)

    def call(self, path, method="GET", **how):
        """A request, made again while the API is not there or says to come again."""
        pause = 0.2
        while True:
            try:
                answer = self.http.request(method, self.api + path, timeout=60, **how)
                if answer.status_code not in (429, 502, 503, 504):
                    return answer
            except requests.RequestException as error:
                print(f"not there: {type(error).__name__}", file=sys.stderr)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 10)

    def path(self, node_id):
        """Where a node belongs, or None when its name would lead out of the folder."""
        names = []
        while node_id != "root":
            node = self.nodes.get(node_id)
            if node is None or len(names) > 64:
                return None
            name = node["name"]
            if name in ("", ".", "..") or "/" in name or "\0" in name or name.startswith(STATE):
                return None
            names.insert(0, name)
            node_id = node["parent"]
        return self.folder.joinpath(*names)

    def put(self, node_id, kind, parent, name, version, metadata):
        self.nodes[node_id] = {"kind": kind, "parent": parent, "name": name, "version": version,
                               "sha256": metadata.get("sha256")}

    def drop(self, node_id):
        for child in [it for it, node in self.nodes.items() if node["parent"] == node_id]:
            self.drop(child)
        self.nodes.pop(node_id, None)

    def snapshot(self):
        self.nodes, page, cursor = {}, None, None
        while cursor is None or page:
            asked = {"share_id": self.share, **({"page": page} if page else {})}
            body = self.call("/api/v1/sync/snapshot", params=asked).json()
            cursor = body["cursor"] if cursor is None else cursor
            for it in body["items"]:
                self.put(it["id"], it["resource_type"], it["parent_id"], it["name"],
                         it["version_id"], it["metadata"])
            page = body["next"]
        self.cursor, self.since = cursor, None

    def read(self):
        """Reads the log to its end. What happened while a snapshot was taken comes again, in order."""
        if self.cursor is None:
            self.snapshot()
        more = True
        while more:
            asked = {"share_id": self.share, "cursor": self.cursor, "since": self.since}
            answer = self.call("/api/v1/sync/changes", params=asked)
            if answer.status_code == 400 and answer.json().get("reset"):
                self.snapshot()
                continue
            answer.raise_for_status()
            body = answer.json()
            for change in body["changes"]:
                if change["change_type"] == "deleted":
                    self.drop(change["resource_id"])
                elif change["resource_type"] != "share":
                    self.put(change["resource_id"], change["resource_type"], change["parent_id"],
                             change["new_path"].rsplit("/", 1)[1], change["version_id"],
                             change["metadata"])
            self.cursor, more = body["cursor"], body["has_more"]
            self.since = body["last_change_id"] or self.since

    def arrange(self):
        """Makes the folder as the nodes are; what has moved is not downloaded again."""
        wanted = {self.path(it): node for it, node in self.nodes.items()}
        wanted.pop(None, None)
        ids = {self.path(it): it for it in self.nodes}
        spare = {}
        for path in sorted(self.folder.rglob("*"), key=lambda it: len(it.parts), reverse=True):
            node = wanted.get(path)
            if path.name.startswith(STATE) or not path.exists():
                continue
            is_folder = path.is_dir() and not path.is_symlink()
            if node and is_folder == (node["kind"] == "folder"):
                if is_folder or digest(path) == node["sha256"]:
                    continue
            if is_folder:
                shutil.rmtree(path)
            else:
                spare[digest(path)] = aside = self.folder / f"{STATE}-{uuid.uuid4().hex}"
                path.replace(aside)
        for path, node in sorted(wanted.items(), key=lambda it: len(it[0].parts)):
            if node["kind"] == "folder":
                path.mkdir(exist_ok=True)
            elif not path.exists() and node["sha256"]:
                part = spare.pop(node["sha256"], None) or self.download(ids[path], node)
                if part:
                    part.replace(path)
        for path in spare.values():
            path.unlink()

    def download(self, node_id, node):
        part = self.folder / f"{STATE}-{node['version']}"
        answer = self.call(f"/api/v1/sync/download/{urllib.parse.quote(node_id, safe='')}",
                           params={"version": node["version"]})
        if answer.status_code == 404:
            return None  # It is gone already; the log says so.
        answer.raise_for_status()
        part.write_bytes(answer.content)
        if digest(part) != node["sha256"]:
            raise SystemExit(f"{node_id} is not what it should be")
        return part

    def step(self):
        self.read()
        self.arrange()
        self.save()

    def follow(self):
        device = {"device_id": DEVICE, "device_name": "follow.py", "platform": "cli"}
        self.call("/api/v1/sync/devices", "POST", json=device).raise_for_status()
        socket = self.api.replace("http", "ws", 1) + f"/api/v1/sync/ws/{DEVICE}"
        bearer = {"authorization": f"Bearer {self.token}"}
        while True:
            try:
                with connect(socket, additional_headers=bearer, open_timeout=10) as frames:
                    frames.send(json.dumps({"type": "subscribe"}))
                    for frame in frames:
                        if json.loads(frame).get("share_id") in (None, self.share):
                            self.step()
            except (OSError, websockets.exceptions.WebSocketException) as error:
                print(f"no socket: {type(error).__name__}", file=sys.stderr)
            time.sleep(random.uniform(0.3, 1))
            self.step()


def digest(path):
    if path.is_symlink():
        return os.readlink(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--once"]
    if len(words) != 4:
        sys.exit(__doc__)
    follower = Follower(*words)
    follower.step() if "--once" in sys.argv else follower.follow()
