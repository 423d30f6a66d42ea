"""A WSGI application that does what the URL's path behind it says."""
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time

counter = 0


def respond(start_response, text, status="200 OK", *more):
    start_response(status, [("Content-Type", "text/plain"), *more])
    return [text if isinstance(text, bytes) else text.encode()]


def do_hello(environ, start_response):
    global counter
    counter += 1
    return respond(start_response, f"hello {counter}")


def do_facts(environ, start_response):
    return respond(start_response, json.dumps({
        "name": __name__, "file": __file__, "argv": sys.argv,
        "path": sys.path, "executable": sys.executable,
        "process": dict(os.environ), "hash": hash("a string"),
        "loaded": sorted(sys.modules), "is_module": sys.modules[__name__].__file__,
        "environ": {name: value for name, value in environ.items()
                    if isinstance(value, str)}}))


def do_child(environ, start_response):
    """What a child finds on its descriptors."""
    return respond(start_response, subprocess.run(
        ["/bin/sh", "-c", "cat; ls -l /proc/self/fd"], close_fds=False, check=True,
        stdout=subprocess.PIPE).stdout)


def do_echo(environ, start_response):
    return respond(start_response, environ["wsgi.input"].read())


def do_digest(environ, start_response):
    found, pieces = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read1(70000):
        found.update(piece)
        pieces += 1
    return respond(start_response, f"{found.hexdigest()} {pieces > 1}")


def do_reads(environ, start_response):
    body = environ["wsgi.input"]
    found = [body.readline(), body.read(3), body.readline(4), body.readline(),
             body.readlines(1), next(body), list(body), body.read(), body.read(5),
             body.readline()]
    return respond(start_response, repr(found))


def do_lines(environ, start_response):
    """Answers each line when it has come."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for line in environ["wsgi.input"]:
        print("seen", line.decode().strip())
        yield b"got " + line


def do_events(environ, start_response):
    """An event, and the next one when somebody has said go."""
    start_response("200 OK", [("Content-Type", "text/event-stream"),
                              ("X-Accel-Buffering", "no")])
    yield b"data: one\n\n"
    while not os.path.exists("/data/go"):
        time.sleep(0.01)
    yield b"data: two\n\n"


def do_go(environ, start_response):
    with open("/data/go", "wb"):
        return respond(start_response, "gone")


def do_raise(environ, start_response):
    raise LookupError("nothing of this is for visitors")


def do_raise_later(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a beginning"
    raise LookupError("behind the beginning")


def do_raise_before_body(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    raise LookupError("before the body")


def do_exit(environ, start_response):
    sys.exit(3)


def do_exc_info(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        raise LookupError("replaced")
    except LookupError:
        return respond_again(start_response, sys.exc_info())


def respond_again(start_response, exc_info):
    start_response("503 Try Later", [("Content-Type", "text/plain")], exc_info)
    return [b"in its place"]


def do_twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"never"]


def do_none(environ, start_response):
    return [b"no head was made"]


def do_text(environ, start_response):
    start_response("200 OK", [])
    return ["text"]


def do_head(environ, start_response):
    """What stands in the body is the header's lines and the status."""
    status, fields = json.loads(environ["wsgi.input"].read())
    start_response(status, [tuple(field) for field in fields])
    return [b"body"]


def do_cookies(environ, start_response):
    return respond(start_response, "sweet", "200 OK",
                   ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"))


def do_print(environ, start_response):
    print("a line for the log")
    print("and one for stderr", file=sys.stderr)
    os.write(1, b"past the buffers\n")
    subprocess.run(["/bin/echo", "from a child"], check=True)
    environ["wsgi.errors"].write("by wsgi.errors\n")
    return respond(start_response, "printed")


def do_print_own(environ, start_response):
    """By streams of the function's own, over ours."""
    ours = sys.stdout
    sys.stdout = io.TextIOWrapper(ours.buffer, encoding="utf-8")
    print("by a stream of its own")
    ours.buffer.write(b"by the buffer\n")
    return respond(start_response, "printed")


class Closed:
    """Tells in /data that it was closed."""

    def __init__(self, parts):
        self.parts = iter(parts)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        print("it was closed")


def do_close(environ, start_response):
    respond(start_response, "")
    return Closed([b"one ", b"", b"two"])


def do_close_and_raise(environ, start_response):
    respond(start_response, "")
    return Closed(part() for part in (lambda: b"one", lambda: 1 / 0))


def do_write(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    write(b"")
    return [b"and returned"]


def do_endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Endless()


class Endless:
    """Says in the log how much of it was taken, and that it was closed."""

    def __init__(self):
        self.taken = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        print(f"piece {self.taken}.")
        return b"x" * 65536

    def close(self):
        print(f"closed behind {self.taken}")


def do_large(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    size = int(environ["QUERY_STRING"])
    return (bytes([i % 251]) * size for i in range(40))


def do_late(environ, start_response):
    """Uses the request when it is over."""
    def late():
        os.read(gate, 1)
        for use in (lambda: environ["wsgi.input"].read(),
                    lambda: write(b"late")):
            try:
                use()
            except ValueError as error:
                print(f"late: {error}")
        print("late: done")
    gate, other = os.pipe()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    threading.Thread(target=late).start()
    later.append(other)
    return [b"on time"]


later = []


def do_let_go(environ, start_response):
    os.write(later.pop(), b"!")
    return respond(start_response, "let go")


def do_thread_reads(environ, start_response):
    """A thread waits for a body that does not come, and the answer is there."""
    started = threading.Event()

    def wait():
        started.set()
        try:
            environ["wsgi.input"].read()
        except (OSError, ValueError) as error:
            print(f"the thread: {type(error).__name__}")
        print("the thread is over")
    threading.Thread(target=wait).start()
    started.wait()
    while not waits_in_read():
        time.sleep(0.01)
    return respond(start_response, "not waited for")


def waits_in_read():
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
        if int(thread) != os.getpid() and state != "S":
            return False
    return True


def do_alarm(environ, start_response):
    """A handler of signals runs while the body is waited for."""
    import signal
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        start_response("200 OK", [("Content-Type", "text/plain")])
        body = environ["wsgi.input"]
        line = body.readline()
        yield b"got " + line
        while len(seen) < 5:
            time.sleep(0.01)
        yield b"alarms"
        yield b"all " + body.read()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").partition("/")[0] or "hello"
    return globals()["do_" + name.replace("-", "_")](environ, start_response)
