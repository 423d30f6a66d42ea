"""The clients: good ones and bad ones, raw and through nginx.

What each is answered must be its own: every request carries a nonce, in its
query or as its body, and the answer gives it back.
"""
import random
import socket
import threading
import time

from lib import fcgi, host as host_room, web
from soak.sheet import BEGUN, SHOWN, UNKNOWN, WHOLE

FUNCTIONS = ("c", "f", "zero", "tenant/c", "tenant/f")
# Nobody asks these for anything bad: while nothing is killed they have no
# excuse.
STEADY = ("steady/c", "steady/f")
# What an honest request may be told beside 200: its instance was killed, it
# found none, it was stopped.
EXCUSES = (502, 503, 504)
HUNG_SECONDS = 20
# What comes when whoever listens is killed.  That nobody listens must not come:
# the service manager holds the socket.
GONE = (ConnectionResetError, BrokenPipeError)


class Client(threading.Thread):
    """Acts at random until it is told to stop; `acts` are (weight, act)."""

    def __init__(self, soak, number):
        super().__init__(daemon=True)
        self.host, self.sheet, self.ledger = soak.host, soak.sheet, soak.ledger
        self.soak = soak
        self.rng = random.Random(f"{soak.seed} {type(self).__name__} {number}")

    def acts(self):
        raise NotImplementedError

    def run(self):
        acts, weights = zip(*self.acts())
        while not self.soak.is_over:
            act = self.rng.choices(acts, weights)[0]
            try:
                act()
            except GONE:
                time.sleep(0.02)
            except (ConnectionRefusedError, FileNotFoundError):
                self.sheet.blame(f"{act.__name__}: nobody listens")
            except TimeoutError:
                self.sheet.blame(f"{act.__name__}: nothing came for "
                                 f"{HUNG_SECONDS} s")
            except Exception as error:  # the lib's claims about the wire
                self.sheet.blame(f"{act.__name__}: {error!r}")
            time.sleep(self.rng.random() * self.soak.pause)

    def url(self, query):
        return f"/fn/{self.rng.choice(FUNCTIONS)}?{query}"

    def nonce(self):
        return f"n{self.rng.getrandbits(64):016x}"

    def work(self):
        """(query, body, what is answered): the ways to give a nonce back."""
        nonce = self.nonce()
        kind = self.rng.randrange(6)
        if kind == 0:
            body = self.rng.randbytes(self.rng.randrange(1, 300000))
            return "head&echo", body, body
        if kind == 1:  # the last byte is held
            head = "field=Content-Type:+text/plain&field=Content-Length:+17"
            return f"{head}&end&raw={nonce}", b"", nonce.encode()
        if kind == 2:  # it is in the middle for a while
            return f"head&raw={nonce}&sleep=300&raw={nonce}", b"", \
                (nonce * 2).encode()
        if kind == 3:
            block = (b"abcdefghijklmnopqrstuvwxyz" * 2521)[:65536]
            return f"head&raw={nonce}&out=131072&raw={nonce}", b"", \
                nonce.encode() + block * 2 + nonce.encode()
        cpu = f"&cpu={self.rng.randrange(1, 6)}" if kind == 4 else ""
        return f"head&raw={nonce}{cpu}", b"", nonce.encode()


class RawClient(Client):
    """FastCGI in raw records."""

    def acts(self):
        return [(self.good, 10), (self.kept, 2), (self.slow_reader, 1),
                (self.slow_sender, 1), (self.leave, 2), (self.abort, 1),
                (self.steady, 5), (self.mutate, 1), (self.partial, 1), (self.crash, 1),
                (self.late, 1), (self.fail, 1), (self.short, 1)]

    def note(self, act, request_id, answer):
        """Enters what came of one request."""
        if answer.is_complete:
            claim, status = WHOLE, answer.status
            if self.rng.randrange(20) == 0 and status != 404 and \
                    not self.ledger.holds(request_id):
                self.sheet.blame(f"{act}: {request_id} was answered before "
                                 "its record was in the log")
        else:
            claim, status = BEGUN if answer.stdout else UNKNOWN, None
        # nobody executes what is not there
        self.sheet.add(request_id, UNKNOWN if status == 404 else claim, act,
                       status)

    def ask(self, act, connection, query, body=b"", kept_id=None, url=None,
            **extra):
        """One request and its answer, entered, even if the connection ends."""
        request_id = host_room.new_id()
        answer, number = fcgi.Answer(), kept_id or 1
        try:
            connection.send(fcgi.request_bytes(
                url or self.url(query), body, request_id=number,
                flags=fcgi.KEEP_CONN if kept_id else 0,
                REQUEST_ID=request_id, **extra))
            connection.read_answer(number, answer)
        finally:
            self.note(act, request_id, answer)
        return answer

    def judge(self, act, answer, wanted):
        if not answer.is_complete:
            if not wanted.startswith(answer.body):
                self.sheet.blame(f"{act}: a cut answer with another's bytes: "
                                 f"{answer!r}, wanted {wanted[:60]!r}")
        elif answer.status == 200:
            if answer.body != wanted:
                self.sheet.blame(f"{act}: another answer: {answer!r}, "
                                 f"wanted {wanted[:60]!r}")
        elif answer.status not in EXCUSES:
            self.sheet.blame(f"{act}: {answer!r}")

    def connect(self):
        return self.host.connect(timeout=HUNG_SECONDS)

    def good(self):
        query, body, wanted = self.work()
        with self.connect() as connection:
            self.judge("good", self.ask("good", connection, query, body),
                       wanted)

    def steady(self):
        """In a strict time it is answered, through reloads, replacements,
        rotations and restarts; half of them on a connection that is kept over
        all that."""
        laps = self.rng.choice((1, 8))
        with self.connect() as connection:
            for lap in range(1, laps + 1):
                if not self.is_steady(connection, lap if laps > 1 else None):
                    return
                if lap < laps:
                    time.sleep(self.rng.random() * 0.2)

    def is_steady(self, connection, kept_id):
        query, body, wanted = self.work()
        is_strict = self.soak.is_strict()
        status = "nothing"
        try:
            answer = self.ask("steady", connection, query, body, kept_id,
                              f"/fn/{self.rng.choice(STEADY)}?{query}")
            self.judge("steady", answer, wanted)
            status = answer.status if answer.is_complete else "cut"
        finally:
            if is_strict and self.soak.is_strict():
                self.sheet.counts["strict"] += 1
                if status != 200:
                    self.sheet.blame(f"steady: {status} although nothing was "
                                     f"killed: {query[:60]} kept={kept_id}")
        return status == 200

    def kept(self):
        with self.connect() as connection:
            for lap in range(1, self.rng.randrange(3, 20)):
                query, body, wanted = self.work()
                answer = self.ask("kept", connection, query, body, lap)
                self.judge("kept", answer, wanted)
                if not answer.is_complete:
                    return

    def slow_reader(self):
        with self.connect() as connection:
            request_id, answer = host_room.new_id(), fcgi.Answer()
            connection.send(fcgi.request_bytes(
                self.url("head&out=1048576"), REQUEST_ID=request_id))
            try:
                for _ in range(self.rng.randrange(1, 10)):
                    if not connection.sock.recv(3000):
                        return
                    answer.stdout = b"begun"
                    time.sleep(0.03)
            finally:
                self.note("slow_reader", request_id, answer)

    def slow_sender(self):
        body = self.rng.randbytes(self.rng.randrange(5, 40))
        request_id, answer = host_room.new_id(), fcgi.Answer()
        with self.connect() as connection:
            data = fcgi.request_bytes(self.url("head&echo"), body,
                                      REQUEST_ID=request_id)
            at = len(data) - len(body) - 8
            try:
                connection.send(data[:at])
                connection.send_split(data[at:], 0.005, 3)
                connection.read_answer(1, answer)
            finally:
                self.note("slow_sender", request_id, answer)
            self.judge("slow_sender", answer, body)

    def leave(self):
        with self.connect() as connection:
            connection.send(fcgi.request_bytes(
                self.url("head&tick=20,10&out=500000")))
            time.sleep(self.rng.random() * 0.2)

    def abort(self):
        request_id, answer = host_room.new_id(), fcgi.Answer()
        with self.connect() as connection:
            connection.send(fcgi.request_bytes(
                self.url("sleep=300&head"), REQUEST_ID=request_id))
            time.sleep(self.rng.random() * 0.1)
            try:
                connection.send(fcgi.record(fcgi.ABORT, 1))
                connection.read_answer(1, answer)
            finally:
                self.note("abort", request_id, answer)

    def mutate(self):
        data = bytearray(fcgi.request_bytes(self.url("head&sum"), b"y" * 500))
        for _ in range(self.rng.randrange(1, 8)):
            data[self.rng.randrange(len(data))] = self.rng.randrange(256)
        with self.connect() as connection:
            connection.send(bytes(data))
            connection.sock.settimeout(0.3)
            try:
                while connection.read_record():
                    pass
            except (socket.timeout, AssertionError):
                pass  # what it is told is the fuzzers' part

    def partial(self):
        data = fcgi.request_bytes(self.url("head&sum"), b"z" * 70000)
        with self.connect() as connection:
            connection.send(data[:self.rng.randrange(len(data))])

    def bad(self, act, query, body=b"", allowed=(), **extra):
        """It must not be told that this went well."""
        with self.connect() as connection:
            answer = self.ask(act, connection, query, body, **extra)
        if answer.is_complete and answer.status not in allowed and \
                answer.status not in EXCUSES:
            self.sheet.blame(f"{act}: {answer!r}")

    def crash(self):
        self.bad("crash", self.rng.choice(
            ("head&out=20000&kill=11", "kill=6", "head&kill=9")))

    def late(self):
        self.bad("late", self.rng.choice(("hang", "head&out=10&hang")))

    def fail(self):
        self.bad("fail", self.rng.choice(("exit=3", "raw=junk%0a%0a")))

    def short(self):
        self.bad("short", "head&sum", b"x" * 100, (200, 400),
                 CONTENT_LENGTH=str(self.rng.choice((50, 150))))


class WebClient(Client):
    """HTTP, by a real nginx that names the request in each answer."""

    def acts(self):
        return [(self.plain, 3), (self.kept, 5), (self.stream, 3),
                (self.leave, 1), (self.crash, 1)]

    def ask(self, act, port, query, body=None):
        """The reply, entered; None where nothing came."""
        reply = web.get(port, self.url(query), "POST" if body else "GET",
                        body=body or None, timeout=HUNG_SECONDS)
        request_id = reply.header("X-Request-Id")
        is_its_own = b"<center>nginx" in reply.body
        if reply.status is None or request_id is None or is_its_own:
            self.sheet.add(None, UNKNOWN, act, reply.status)
            return None
        claim = BEGUN if not reply.is_whole or reply.status == 404 else SHOWN
        self.sheet.add(request_id, UNKNOWN if reply.status == 404 else claim,
                       act, reply.status)
        return reply

    def judge(self, act, port, is_strict):
        """Not strict: without fastcgi_keep_conn nginx takes the close of a
        killed gateway for the regular end."""
        query, body, wanted = self.work()
        reply = self.ask(act, port, query, body)
        if reply is None or reply.status in EXCUSES:
            return
        if reply.status != 200:
            self.sheet.blame(f"{act}: {reply!r}")
        elif reply.is_whole and is_strict and reply.body != wanted:
            self.sheet.blame(f"{act}: another answer: {reply!r}, wanted "
                             f"{wanted[:60]!r}")
        elif not wanted.startswith(reply.body):
            self.sheet.blame(f"{act}: another's bytes: {reply!r}, wanted "
                             f"{wanted[:60]!r}")

    def plain(self):
        self.judge("nginx plain", self.soak.nginx.plain, False)

    def kept(self):
        self.judge("nginx kept", self.soak.nginx.kept, True)

    def stream(self):
        self.judge("nginx stream", self.soak.nginx.stream, False)

    def leave(self):
        with web.Client(self.soak.nginx.kept) as client:
            client.ask(self.url("head&tick=20,10&out=500000"))
            time.sleep(self.rng.random() * 0.2)

    def crash(self):
        reply = self.ask("nginx crash", self.soak.nginx.kept, "kill=11")
        if reply is not None and reply.status not in EXCUSES:
            self.sheet.blame(f"nginx crash: {reply!r}")
