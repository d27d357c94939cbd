"""What the server takes while it is busy: its memory, and how much it slows the training beside it.

    python -m bench.serve PHOTOS [--uploads 50] [--megabytes 20] [--mbit 8] [--pages 200] [--steps 6000]
                          [--rounds 2]

PHOTOS: a folder. Trains them by ``nerfscene serve`` for the same number of steps, alone and beside the load,
in turn: so many uploads at once, each as fast as a phone's network, and so many gallery pages a second until
the training ends. Prints the training's seconds of each and their ratio of medians; what the load took of the
processors, told apart by who: the server and its helpers, and this program, whose work other machines do
elsewhere; and the most memory that the server and its helpers had, their shared pages counted once (PSS). The
training itself is not in these. Pages are asked for by h2load (Debian's nghttp2-client) if it is installed,
which takes less of the processors than Python. Linux only.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import resource
import shutil
import signal
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
    """What is asked of the server, and what came of it."""

    port: int
    cookie: str
    token: str
    scene: str
    rate: float  # bytes a second of each upload
    uploaded: int = 0
    pages: int = 0
    refused: list[str] = field(default_factory=list)

    def upload(self, number: int, content: bytes) -> None:
        """Uploads a photo."""
        size = len(content)
        metadata = ",".join(
            f"{k} {base64.b64encode(v.encode()).decode()}"
            for k, v in (("scene", self.scene), ("filename", f"{number}.jpg"))
        )
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            create = {"Upload-Length": size, "Upload-Metadata": metadata, "Content-Length": 0}
            status, headers = self.ask(s, "POST", "/api/uploads", create)
            if status == 201:
                patch = {"Upload-Offset": 0, "Content-Type": "application/offset+octet-stream"}
                path = "/" + headers["location"].split("://")[-1].partition("/")[2]
                body = {**patch, "Content-Length": size}
                status, _ = self.ask(s, "PATCH", path, body, content)
        if status == 204:
            self.uploaded += 1
        else:
            self.refused.append(str(status))

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

    def look(self, a_second: int, seconds: int) -> None:
        """Asks for the gallery so often, for so long."""
        if shutil.which("h2load"):
            self._look_by_h2load(a_second, seconds)
            return
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            begin = time.monotonic()
            for n in range(a_second * seconds):
                time.sleep(max(0.0, begin + n / a_second - time.monotonic()))
                status, _ = self.ask(s, "GET", "/", {})
                assert status == 200, status
                self.pages += 1

    def _look_by_h2load(self, a_second: int, seconds: int) -> None:
        rate = ["--h1", "--clients=1", f"--rps={a_second}", f"--duration={seconds}"]
        address = ["-H", f"Cookie: {gate.COOKIE}={self.cookie}", f"http://127.0.0.1:{self.port}/"]
        ended = subprocess.run(["h2load", *rate, *address], stdout=subprocess.PIPE, text=True, check=True)
        good = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", ended.stdout)
        assert good, ended.stdout
        self.pages = int(good[1])


def own_seconds() -> float:
    """Seconds of a core that this program and what it has started and ended took."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


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


def family(process: int) -> list[int]:
    """A process and all below it, without those that work on scenes and what they have started."""
    found = {process}
    for entry in sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()):
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            command = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if parent in found and b"serve.work" not in command:
            found.add(entry)
    return sorted(found)


def memory(process: int) -> float:
    """MB that the server and its helpers have."""
    total = 0.0
    for entry in family(process):
        with contextlib.suppress(OSError):
            rolled = Path(f"/proc/{entry}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in rolled if line.startswith("Pss:")) / 1e3
    return total


def processor(process: int) -> float:
    """Seconds of a core that the server and its helpers have taken, those that have ended too."""
    ticks = 0
    for entry in family(process):
        with contextlib.suppress(OSError):
            own = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            ticks += int(own[11]) + int(own[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def begun(shop: Shop, person: str, photos: Path, steps: int) -> str:
    """Has the queue train a new scene; returns the job when its cameras are found and it trains."""
    scene = scenes.new_scene(shop.db, shop.data, person, "Bench", {})
    at = scenes.places(shop.data, scene.id)
    for file in photos.iterdir():
        shutil.copy2(file, at.photos)
    earlier = next((p for p in shop.data.glob("scenes/*/scene/poses") if p.is_dir()), None)
    if earlier is not None:
        shutil.copytree(earlier, at.scene / "poses")  # so that cameras are sought once only
    job = jobs.add(shop.db, scene.id, person, "train", {"steps": steps, "quality": "1min"})
    while trains(shop, job.id, first="training"):
        time.sleep(0.1)
    return job.id


def trains(shop: Shop, job: str, first: str = "") -> bool:
    """Whether a job trains now; first: or is before that stage."""
    now = jobs.job_of(shop.db, job)
    assert now.state in ("waiting", "running", "done"), now
    return now.state != "done" and (now.stage == "training") != bool(first)


def seconds_of(shop: Shop, job: str) -> float:
    """Seconds of training of a job, when it has ended."""
    while jobs.job_of(shop.db, job).state != "done":
        time.sleep(0.5)
    scene = scenes.places(shop.data, jobs.job_of(shop.db, job).scene).scene
    return float(json.loads((scene / "scene.json").read_text())["figures"]["train_seconds"])


def main() -> None:
    """Runs the server, the training and the load."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    usual = {"uploads": 50, "megabytes": 20, "mbit": 8, "pages": 200, "steps": 6000, "rounds": 2}
    for name, value in usual.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that the server ends, too
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
    print(f"{os.cpu_count()} cores; server at rest: {memory(server):.0f} MB", flush=True)
    for _ in range(asked.rounds):
        alone.append(seconds_of(shop, begun(shop, person, asked.photos, asked.steps)))
        target = scenes.new_scene(shop.db, shop.data, person, "Uploads", {})
        load = Load(port, session, gate.token_for(shop, session), target.id, asked.mbit * 125e3)
        contents = [photo(asked.megabytes * 10**6, i) for i in range(asked.uploads)]
        uploads = [threading.Thread(target=load.upload, args=each) for each in enumerate(contents)]
        job = begun(shop, person, asked.photos, asked.steps)
        begin, taken, own = time.monotonic(), processor(server), own_seconds()
        lasts = round(1.1 * alone[-1])
        looking = threading.Thread(target=load.look, args=(asked.pages, lasts))
        for thread in (*uploads, looking):
            thread.start()
        while trains(shop, job):
            most = max(most, memory(server))
            time.sleep(1)
        looking.join()
        seconds = time.monotonic() - begin
        taken, own = processor(server) - taken, own_seconds() - own
        beside.append(seconds_of(shop, job))
        for thread in uploads:
            thread.join()
        print(
            f"alone {alone[-1]:.1f} s, beside {beside[-1]:.1f} s; {load.uploaded} uploads, "
            f"{load.pages / lasts:.0f} pages/s, refused: {load.refused[:3]}; in {seconds:.0f} s "
            f"the server took {taken:.1f} s of a core, the load's own side {own:.1f} s",
            flush=True,
        )
    ratio = statistics.median(beside) / statistics.median(alone)
    print(f"training beside the load: {ratio:.3f} of its time alone; server at most {most:.0f} MB")


if __name__ == "__main__":
    main()
