"""A server on the loopback address that can be told to misbehave, and data manifests that point to it."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import yaml

from fcl.data.download import fetch_split

CONTENT = bytes(range(256)) * 2000
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
FILE_PATH = "/records/abcde-12345/files/train.xyz"
LISTING_PATH = "/api/records/abcde-12345/files"


class Archive(ThreadingHTTPServer):
    """Serves CONTENT with HTTP Range, and its listing; ``faults`` are used up, one a request:

    a status; "break": half of the bytes, then the end; "stall": half of the bytes, then nothing for a while; "mute": no
    answer for a while; "less": a Content-Length of half of the bytes; "endless": none; "range": the whole file as if it
    were the part asked for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.faults, self.requests, self.ranges = CONTENT, [], [], True
        self.delay, self.released = 0.0, threading.Event()  # the event ends all stalling when the test is over
        self.listing = {"entries": [{"key": "train.xyz", "size": len(CONTENT), "checksum": MD5}]}
        self.url = f"http://127.0.0.1:{self.server_port}{FILE_PATH}?download=1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path, server = urlsplit(self.path).path, self.server
        server.requests.append((path, self.headers.get("Range")))
        if path == LISTING_PATH and server.listing is not None:
            self.answer(200, json.dumps(server.listing).encode())
            return
        if path != FILE_PATH:
            self.answer(404, b"")
            return
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            self.answer(fault, b"")
            return
        if fault == "mute":
            server.released.wait(5.0)
            return
        time.sleep(server.delay)
        start = 0
        if server.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.answer(416, b"")
                return
        body = server.content[0 if fault == "range" else start :]
        sent = body[: len(body) // 2] if fault in ("break", "stall") else body
        size = len(server.content)
        headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        length = {"less": len(body) // 2, "endless": None}.get(fault, len(body))
        self.answer(206 if start else 200, sent, length=length, **headers)
        if fault == "stall":
            self.wfile.flush()
            server.released.wait(5.0)

    def answer(self, status, body, length=..., **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length is ... else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def manifest(folder, *, file="train.xyz", **entry):
    path = folder / "manifest.yaml"
    data = {"name": "toy", "title": "Toy set", "licence": "CC0", "citation": "none", "version": "1"}
    path.write_text(yaml.safe_dump({**data, "splits": {"train": {"file": file, **entry}}}))
    return path


def fetch(path, output, **options):
    return fetch_split(path, "train", output, **{"timeout": 5.0, "retries": 2, "backoff": 0.01, **options})


def files_of(folder):
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
