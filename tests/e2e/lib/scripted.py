"""Runtimes that are scripts: a program alone, without a host, and talks that
their tests have in common."""
import json
import time

from lib import alone, programs, runtimes
from lib.alone import begin_body, end_body, request, send_body  # noqa: F401

FUNCTIONS = programs.HERE / "runtime"


class Alone(alone.Alone):
    def __init__(self, name, function, **env):
        super().__init__([*runtimes.command(name), str(function)], **env)


def ask(host, part, body=b"", **more):
    """(answer, record) of a part of the function app."""
    return host.execute(f"/fn/app/{part}", body, **more)


def logged(host, record, pattern):
    """The line of the log with the pattern and the request's id."""
    found = host.wait_log(rf"^.*{record['request_id']}.*{pattern}.*$")
    return found[0]


def talk(connection, lines, answers):
    """Sends each line when the answer to the one before is there."""
    answer = None
    for line, expected in zip(lines[:-1], answers):
        send_body(connection, line)
        answer = connection.read_answer(
            answer=answer, stop=lambda a: a.body.endswith(expected))
        assert answer.body.endswith(expected) and not answer.is_complete, answer
    end_body(connection, lines[-1])
    return connection.read_answer(answer=answer)


def wait_spare(host, timeout=30):
    """Until the only instance that is left is a spare."""
    until = time.monotonic() + timeout
    while True:
        found = [one["state"] for one in json.loads(
            host.verb("status", "--json").stdout)["instances"]]
        if found == ["spare"]:
            return
        assert time.monotonic() < until, (found, host.log()[-2000:])
        time.sleep(0.03)


def read_until(client, text):
    """Reads a web server's answer up to a text."""
    while text not in client.pending:
        more = client.sock.recv(65536)
        assert more, f"the answer ended behind {client.pending!r}"
        client.pending += more
