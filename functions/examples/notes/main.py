"""A folder is a function too, when it holds main.*.  POST adds a line to a
file in /data, the tenant's own directory that outlives instances; GET reads.

    curl -d 'milk and bread' http://127.0.0.1:8080/fn/notes
"""

import os
import sys

PATH = "/data/notes.txt"

if os.environ["REQUEST_METHOD"] == "POST":
    length = min(int(os.environ.get("CONTENT_LENGTH") or 0), 1000)
    line = sys.stdin.buffer.read(length).replace(b"\n", b" ")
    with open(PATH, "ab") as file:
        file.write(line + b"\n")

notes = b""
if os.path.exists(PATH):
    with open(PATH, "rb") as file:
        notes = file.read()
# Behind all that may fail: an answer that has begun looks whole.
sys.stdout.buffer.write(b"Content-Type: text/plain; charset=utf-8\n\n" + notes)
