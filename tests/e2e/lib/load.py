"""Constant load of requests that each must be answered right, whatever happens
to the host meanwhile: with 200, and with their own nonce.  Where parts of it are
killed: right, or visibly not at all, and with one record."""
import collections
import os
import threading
import time

from lib import fcgi, web

PAUSE = 0.004
HUNG_SECONDS = 60


class Client(threading.Thread):
    """One request after the other until the load is stopped.  The function `r`
    says its query, others do what it says."""

    def __init__(self, load, functions):
        super().__init__(daemon=True)
        self.load, self.functions = load, functions
        self.count = 0
        self.wrong = []
        self.right, self.failed = [], []  # nonces; of a failed one it was cut,
        self.swapped = []  # or in words; neither is an answer with another's
        self.slowest = 0.0

    def run(self):
        while not self.load.is_over.is_set():
            nonce = os.urandom(12).hex()
            name = self.functions[self.count % len(self.functions)]
            # a POST is what nobody on the way may send twice
            body = nonce.encode() * (1 + self.count % 40) \
                if self.count % 2 and name != "r" else None
            query = f"{self.load.first}head&" + \
                (f"raw={nonce}" if body is None else "echo")
            wanted = body.decode() if body else \
                query if name == "r" else nonce
            query = f"/fn/{name}?{query}"
            started = time.monotonic()
            try:
                status, text = self.ask(query, body, nonce)
            except (OSError, AssertionError) as error:
                status, text = None, repr(error)
            self.count += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
            is_right = status == 200 and text == wanted
            (self.right if is_right else self.swapped if status == 200 else
             self.failed).append(nonce)
            if not is_right:
                self.wrong.append((query, body is not None, status, text[:200],
                                   round(time.monotonic() - started, 3)))
            time.sleep(PAUSE)

    def ask(self, query, body, nonce):
        raise NotImplementedError


class Raw(Client):
    """FastCGI on a connection for each request; nothing is tried again."""

    def __init__(self, load, functions, address):
        super().__init__(load, functions)
        self.address = address

    def ask(self, query, body, nonce):
        answer = fcgi.fetch(self.address, query, body or b"", HUNG_SECONDS,
                            REQUEST_METHOD="GET" if body is None else "POST",
                            REQUEST_ID=nonce)
        return answer.status if answer.is_complete else "cut", answer.text


class Kept(Raw):
    """FastCGI on one connection, kept for as long as the host keeps it; a
    request on one that is closed is wrong too, since nobody can know whether
    it was begun."""

    connection = None

    def ask(self, query, body, nonce):
        if self.connection is None:
            self.connection = fcgi.Connection(self.address, HUNG_SECONDS)
        # in the way out of here only a whole answer puts it back
        connection, self.connection = self.connection, None
        number = self.count % 60000 + 1
        connection.send(fcgi.request_bytes(
            query, body or b"", request_id=number, flags=fcgi.KEEP_CONN,
            REQUEST_METHOD="GET" if body is None else "POST",
            REQUEST_ID=nonce))
        answer = connection.read_answer(number)
        if not answer.is_complete:
            connection.close()
            return "cut", answer.text
        self.connection = connection
        return answer.status, answer.text


class Http(Client):
    """Through a web server."""

    def __init__(self, load, functions, port):
        super().__init__(load, functions)
        self.port = port

    def ask(self, query, body, nonce):
        reply = web.get(self.port, query, "GET" if body is None else "POST",
                        body=body, timeout=HUNG_SECONDS)
        return reply.status if reply.is_whole else "cut", reply.text


class Load:
    """with Load(…) as load: …; then load.check().  It goes on until each client has
    had its `least` answers, however slow the machine."""

    def __init__(self, first="", least=20):
        self.first = first  # what a request does before it answers, "sleep=9&"
        self.is_over = threading.Event()
        self.clients, self.least = [], least

    def add(self, kind, *args, threads=2):
        self.clients += [kind(self, *args) for _ in range(threads)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, kind, *_):
        until = time.monotonic() + HUNG_SECONDS
        while kind is None and time.monotonic() < until and not self.is_enough():
            time.sleep(0.02)
        self.is_over.set()
        for client in self.clients:
            client.join()

    def is_enough(self):
        """Where one has failed, more show no more."""
        return any(client.wrong for client in self.clients) or \
            all(client.count >= self.least for client in self.clients)

    @property
    def count(self):
        return sum(client.count for client in self.clients)

    def wait_answered(self, more, timeout=30):
        """Until so many more were answered right."""
        until, least = time.monotonic() + timeout, self.answered + more
        while self.answered < least:
            assert time.monotonic() < until, f"{least - self.answered} lack"
            time.sleep(0.005)

    def wait_each(self, least, timeout=60):
        """Until each client has had so many answers, however slow the machine."""
        until = time.monotonic() + timeout
        while min(client.count for client in self.clients) < least:
            assert time.monotonic() < until, \
                [client.count for client in self.clients]
            time.sleep(0.005)

    @property
    def answered(self):
        return sum(len(client.right) for client in self.clients)

    @property
    def slowest(self):
        return max(client.slowest for client in self.clients)

    def check(self):
        """Not one failed, and there were enough of each."""
        wrong = [(type(client).__name__, *one) for client in self.clients
                 for one in client.wrong]
        kinds = collections.Counter(one[:2] + one[3:5] for one in wrong)
        assert not wrong, f"{len(wrong)} of {self.count}: {kinds}\n{wrong[:5]}"
        for client in self.clients:
            assert client.count >= self.least, (type(client).__name__, client.count)

    def judge(self, records):
        """While parts were killed: whoever was answered has his own nonce, and
        one record, `ok`; who was not has seen that, and has one at most.  Of
        those that say their own id to the host."""
        told = {}
        for record in records:
            if record["type"] == "exec":
                told.setdefault(record["request_id"], []).append(
                    record["outcome"])
        for client in self.clients:
            assert not client.swapped, (type(client).__name__, client.wrong)
            if not isinstance(client, Raw):
                continue
            bad = {nonce: told.get(nonce) for nonce in client.right
                   if told.get(nonce) != ["ok"]}
            assert not bad, f"whole answers and their records: {bad}"
            bad = {nonce: told[nonce] for nonce in client.failed
                   if len(told.get(nonce, [])) > 1}
            assert not bad, f"recorded twice: {bad}"
