"""What the server takes while it is busy: its memory, and how much it slows the training beside it.

    python -m bench.serve PHOTOS [--uploads 50] [--megabytes 20] [--mbit 8] [--pages 200] [--steps 6000]
                          [--rounds 2]

PHOTOS: a folder. Trains them by ``nerfscene serve`` for the same number of steps, alone and beside the load,
in turn: so many uploads at once, each as fast as a phone's network, again and again, and so many gallery
pages a second. Prints the training's
seconds of each, their ratio of medians, and the most memory that the server and its helpers had, their shared
pages counted once (PSS), without the training itself. Linux only.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from nerfscene.config import ServeConfig
from nerfscene.serve import gate, jobs, people, scenes
from nerfscene.serve.shop import Shop, opened

CHUNK = 1 << 20


@dataclass
class Load:
    """What is asked of the server, and what came of it. Its threads end when ``over`` is set."""

    port: int
    cookie: str
    token: str
    scene: str
    rate: float  # bytes a second of each upload
    over: threading.Event = field(default_factory=threading.Event)
    uploaded: int = 0
    pages: int = 0
    refused: list[str] = field(default_factory=list)

    def upload(self, number: int, size: int, at_least: int) -> None:
        """Uploads photos of ``size`` bytes one after the other, at least so many."""
        done = 0
        while done < at_least or not self.over.is_set():
            name = f"{number}-{done}-{time.time_ns()}.jpg"
            metadata = ",".join(
                f"{k} {base64.b64encode(v.encode()).decode()}"
                for k, v in (("scene", self.scene), ("filename", name))
            )
            with socket.create_connection(("127.0.0.1", self.port)) as s:
                create = {"Upload-Length": size, "Upload-Metadata": metadata, "Content-Length": 0}
                status, headers = self.ask(s, "POST", "/api/uploads", create)
                if status != 201:
                    self.refused.append(f"{status}")
                    return
                patch = {"Upload-Offset": 0, "Content-Type": "application/offset+octet-stream"}
                path = "/" + headers["location"].split("://")[-1].partition("/")[2]
                status, _ = self.ask(
                    s, "PATCH", path, {**patch, "Content-Length": size}, photo(size, number, done)
                )
                if status != 204:
                    self.refused.append(f"PATCH {status}")
                    return
            done += 1
            self.uploaded += 1

    def ask(
        self, s: socket.socket, method: str, path: str, headers: dict[str, object], body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        """One request; its status and headers. The answer's body is read and dropped."""
        lines = {
            "Host": f"127.0.0.1:{self.port}", "Cookie": f"{gate.COOKIE}={self.cookie}",
            gate.TOKEN_HEADER: self.token, "Tus-Resumable": "1.0.0", **headers,
        }  # fmt: skip
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
        s.sendall(head.encode())
        begin = time.monotonic()
        for i in range(0, len(body), CHUNK):
            s.sendall(body[i : i + CHUNK])
            time.sleep(max(0.0, begin + i / self.rate - time.monotonic()))
        got = b""
        while b"\r\n\r\n" not in got:
            got += more(s)
        top, _, rest = got.partition(b"\r\n\r\n")
        first, *others = top.decode("latin-1").split("\r\n")
        found = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in others)}
        left = int(found.get("content-length", 0)) - len(rest)
        while left > 0:
            left -= len(more(s))
        return int(first.split()[1]), found

    def look(self, a_second: float) -> None:
        """Asks for the gallery so often."""
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            begin, n = time.monotonic(), 0
            while not self.over.is_set():
                status, _ = self.ask(s, "GET", "/", {})
                assert status == 200, status
                n += 1
                self.pages += 1
                time.sleep(max(0.0, begin + n / a_second - time.monotonic()))


def more(s: socket.socket) -> bytes:
    """What comes next on a connection."""
    got = s.recv(1 << 16)
    if not got:
        raise ConnectionError("the server closed the connection")
    return got


def photo(size: int, *numbers: int) -> bytes:
    """A JPEG of so many bytes, most of them after its end, as panoramas and motion photos have."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (640, 480), tuple(n * 37 % 256 for n in (*numbers, 5, 9))[:3]).save(file, "JPEG")
    return file.getvalue() + json.dumps(numbers).encode() + bytes(size - len(file.getvalue()) - 40)


def memory(process: int, without: str) -> float:
    """MB that a process and all below it have, those left out whose command contains ``without``."""
    total, parents = 0.0, {process}
    for entry in sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()):
        try:
            status = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if (entry != process and int(status[1]) not in parents) or without in command:
                continue
            parents.add(entry)
            rolled = Path(f"/proc/{entry}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rolled.splitlines() if line.startswith("Pss:")) / 1e3
    return total


def trained(shop: Shop, person: str, photos: Path, steps: int) -> float:
    """Trains a new scene by the queue; returns its seconds of training."""
    scene = scenes.new_scene(shop.db, shop.data, person, "Bench", {})
    at = scenes.places(shop.data, scene.id)
    for file in photos.iterdir():
        shutil.copy(file, at.photos)
    job = jobs.add(shop.db, scene.id, person, "train", {"steps": steps, "quality": "1min"})
    while jobs.job_of(shop.db, job.id).state in ("waiting", "running"):
        time.sleep(0.5)
    ended = jobs.job_of(shop.db, job.id)
    assert ended.state == "done", ended
    figures = json.loads((at.scene / "scene.json").read_text())["figures"]
    return float(figures["train_seconds"])


def main() -> None:
    """Runs the server, the training and the load."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    usual = {"uploads": 50, "megabytes": 20, "mbit": 8, "pages": 200, "steps": 6000, "rounds": 2}
    for name, value in usual.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = opened(Path(folder), ServeConfig())
        person = people.first_person(shop.db)
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "nerfscene",
            "serve",
            folder,
            "--port",
            str(port),
            "--total",
            "100GB",
        ]
        server = subprocess.Popen([*command, "--quota", "100GB"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        server.stdout.readline()
        session = gate.session_for(shop, people.first_person(shop.db))  # its key is made now
        try:
            measure(shop, person.id, session, port, server.pid, asked)
        finally:
            server.terminate()
            server.wait()


def measure(shop: Shop, person: str, session: str, port: int, server: int, asked: argparse.Namespace) -> None:
    """Trains alone and beside the load, in turn, and prints what was found."""
    alone, beside, most = [], [], 0.0
    print(f"{os.cpu_count()} cores; server at rest: {memory(server, 'serve.work'):.0f} MB", flush=True)
    for _ in range(asked.rounds):
        alone.append(trained(shop, person, asked.photos, asked.steps))
        target = scenes.new_scene(shop.db, shop.data, person, "Uploads", {})
        load = Load(port, session, gate.token_for(shop, session), target.id, asked.mbit * 125e3)
        threads = [
            threading.Thread(target=load.upload, args=(i, asked.megabytes * 10**6, 1))
            for i in range(asked.uploads)
        ]
        threads.append(threading.Thread(target=load.look, args=(asked.pages,)))
        finished: list[float] = []
        training = threading.Thread(
            target=lambda found=finished: found.append(trained(shop, person, asked.photos, asked.steps))
        )
        begin = time.monotonic()
        for thread in (training, *threads):
            thread.start()
        while training.is_alive():
            most = max(most, memory(server, "serve.work"))
            time.sleep(1)
        load.over.set()
        for thread in threads:
            thread.join()
        beside += finished
        seconds = time.monotonic() - begin
        print(
            f"alone {alone[-1]:.1f} s, beside {beside[-1]:.1f} s; {load.uploaded} uploads, "
            f"{load.pages / seconds:.0f} pages/s, refused: {load.refused[:3]}",
            flush=True,
        )
    ratio = statistics.median(beside) / statistics.median(alone)
    print(f"training beside the load: {ratio:.3f} of its time alone; server at most {most:.0f} MB")


if __name__ == "__main__":
    main()
