#!/bin/sh
# tuspyserver 4.4.3 writes down an upload's offset only when a request ends: after the server is killed, the
# upload that goes on is longer than its file, with the first part in it twice, and counts as complete.
#
# Met with: tuspyserver 4.4.3, fastapi 0.139.0, uvicorn 0.54.0, Python 3.11, Linux x86-64.
# Valid input: an upload of 1000000 bytes by tus 1.0.0; the server process is killed (SIGKILL, as when memory runs
# out or a machine restarts) after 400000 bytes of the only PATCH are on its disk. The client does as the protocol
# says: it asks for the offset with HEAD, and sends the rest from there.
# Seen: HEAD says 0, though 400000 bytes are in the file; the next PATCH, from 0, is appended to them. HEAD then says
# 1000000 of 1000000, and the file has 1400000 bytes; nothing says so to anyone.
# A second surprise on the way: an upload without "filetype" in its metadata, which tus doesn't ask for, is accepted
# (201), but HEAD answers 400, so that a client can't go on with it.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check tuspyserver==4.4.3 fastapi==0.139.0 uvicorn==0.54.0
cat >app.py <<'P'
from fastapi import FastAPI
from tuspyserver import create_tus_router

app = FastAPI()
app.include_router(create_tus_router(prefix="files", files_dir="kept"))
P
cat >look.py <<'P'
import base64, http.client, os, pathlib, signal, socket, subprocess, sys, time
from urllib.parse import urlsplit

SIZE, FIRST = 1_000_000, 400_000
CONTENT = bytes(i % 251 for i in range(SIZE))
TUS = {"Tus-Resumable": "1.0.0"}
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    PORT = s.getsockname()[1]


def start():
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(PORT), "--log-level", "critical"]
    server = subprocess.Popen(command)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
            return server
        except OSError:
            time.sleep(0.1)
    sys.exit("the server didn't start")


def ask(method, path, headers, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.request(method, path, body, {**TUS, **headers})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers


def begin(**metadata):
    words = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in metadata.items())
    status, headers = ask("POST", "/files/", {"Upload-Length": str(SIZE), "Upload-Metadata": words})
    assert status == 201, status
    return urlsplit(headers["Location"]).path


def head(path):
    status, headers = ask("HEAD", path, {})
    return status, headers.get("Upload-Offset")


BYTES = {"Content-Type": "application/offset+octet-stream"}
server = start()
place = begin(filename="photo.jpg", filetype="image/jpeg")
file = pathlib.Path("kept") / place.rsplit("/", 1)[1]
with socket.create_connection(("127.0.0.1", PORT)) as s:
    lines = {**TUS, **BYTES, "Host": "x", "Upload-Offset": "0", "Content-Length": str(SIZE)}
    s.sendall(f"PATCH {place} HTTP/1.1\r\n".encode())
    s.sendall("".join(f"{k}: {v}\r\n" for k, v in lines.items()).encode() + b"\r\n" + CONTENT[:FIRST])
    for _ in range(600):
        if file.stat().st_size == FIRST:
            break
        time.sleep(0.1)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
server = start()
status, offset = head(place)
at = int(offset)
there = file.stat().st_size
sent, _ = ask("PATCH", place, {**BYTES, "Upload-Offset": str(at)}, CONTENT[at:])
print(f"on disk {there}, HEAD {status} says {at}, PATCH {sent}, HEAD then says {head(place)[1]} of {SIZE}")
print(f"the file has {file.stat().st_size} bytes, and is {'right' if file.read_bytes() == CONTENT else 'wrong'}")
without = head(begin(filename="photo.jpg"))[0]
print(f"HEAD of an upload without a filetype: {without}")
seen = (there, at, sent, head(place)[1], file.stat().st_size, without)
server.kill()
server.wait()
sys.exit(seen != (FIRST, 0, 204, str(SIZE), SIZE + FIRST, 400))
P
v/bin/python look.py || { echo "changed"; exit 1; }
