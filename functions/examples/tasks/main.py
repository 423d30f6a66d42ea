"""A JSON API on SQLite: tasks in /data, which all instances share and which
outlives them.

    curl -d '{"text": "milk"}' http://127.0.0.1:8080/fn/tasks
    curl http://127.0.0.1:8080/fn/tasks
    curl -X PATCH -d '{"done": true}' http://127.0.0.1:8080/fn/tasks/1
    curl -X DELETE http://127.0.0.1:8080/fn/tasks/1
"""

import contextlib
import json
import os
import sqlite3
import sys

SCHEMA = """CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY, text TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0)"""


class Refused(Exception):
    """A status and a sentence for the client."""


def row(db, number):
    found = db.execute("SELECT id, text, done FROM tasks WHERE id = ?",
                       (number,)).fetchone()
    if found is None:
        raise Refused(404, "there is no such task")
    return {"id": found[0], "text": found[1], "done": bool(found[2])}


def body():
    try:
        length = int(os.environ.get("CONTENT_LENGTH") or 0)
        given = json.loads(sys.stdin.buffer.read(length))
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(given, dict):
        raise Refused(400, "the body is no object")
    return given


def add(db):
    text = body().get("text")
    # JSON can name half a character, as "\ud800", which is no text to keep
    if (not isinstance(text, str) or not 0 < len(text) <= 1000 or
            any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise Refused(422, "text: 1 to 1000 characters")
    return 201, row(db, db.execute("INSERT INTO tasks (text) VALUES (?)",
                                   (text,)).lastrowid)


def change(db, number):
    done = body().get("done")
    if not isinstance(done, bool):
        raise Refused(422, "done: true or false")
    db.execute("UPDATE tasks SET done = ? WHERE id = ?", (done, number))
    return 200, row(db, number)


def remove(db, number):
    gone = row(db, number)
    db.execute("DELETE FROM tasks WHERE id = ?", (number,))
    return 200, gone


def serve(db, method, number):
    if number is None:
        if method == "POST":
            return add(db)
        if method == "GET":
            rows = db.execute("SELECT id FROM tasks ORDER BY id").fetchall()
            return 200, [row(db, one) for one, in rows]
    elif method == "GET":
        return 200, row(db, number)
    elif method == "PATCH":
        return change(db, number)
    elif method == "DELETE":
        return remove(db, number)
    raise Refused(405, "GET, POST; of one task GET, PATCH, DELETE")


def main():
    path = os.environ.get("PATH_INFO", "").strip("/")
    try:
        if path and not (path.isascii() and path.isdigit() and len(path) < 19):
            raise Refused(404, "there is no such task")
        # closed, and committed unless there was an exception
        with contextlib.closing(sqlite3.connect("/data/tasks.db",
                                                timeout=5)) as db, db:
            db.execute(SCHEMA)
            status, found = serve(db, os.environ["REQUEST_METHOD"],
                                  int(path) if path else None)
    except Refused as refused:
        status, found = refused.args[0], {"error": refused.args[1]}
    text = json.dumps(found)
    print(f"Status: {status}\nContent-Type: application/json\n\n{text}")


main()
