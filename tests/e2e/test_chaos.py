"""Everything at once, from a seed: good clients, bad ones, reloads, rotations;
then the books are whole, they balance, and nothing is left."""
import os
import random
import threading
import time

from lib import books, fcgi, host as host_room, leaks

SECONDS = float(os.environ.get("CHAOS_SECONDS", "8"))
CLIENTS = 12
SEED = int(os.environ.get("CHAOS_SEED", "1"))
FUNCTIONS = ("c", "f", "zero", "tenant/c", "tenant/f")


class Client(threading.Thread):
    """Acts at random; what it was told as whole is kept for the end."""

    def __init__(self, host, number, until):
        super().__init__()
        self.host, self.until = host, until
        self.rng = random.Random(SEED * 1000 + number)
        self.whole, self.wrong, self.acts = [], [], 0

    def url(self, query):
        return f"/fn/{self.rng.choice(FUNCTIONS)}?{query}"

    def run(self):
        acts = [self.good] * 6 + [self.posted] * 3 + [
            self.leave, self.leave, self.abort, self.mutate, self.partial,
            self.slow, self.crash, self.late, self.short, self.many]
        while time.monotonic() < self.until:
            self.acts += 1
            try:
                self.rng.choice(acts)()
            except (ConnectionError, TimeoutError, BlockingIOError):
                pass

    def ask(self, url, body=b"", **extra):
        request_id = host_room.new_id()
        answer = self.host.fetch(url, body, REQUEST_ID=request_id, **extra)
        if answer.is_complete and answer.status != 404:
            self.whole.append(request_id)
        return answer

    def good(self):
        text = f"n{self.rng.random()}"
        answer = self.ask(self.url(f"head&raw={text}&cpu=2"))
        if answer.status == 200 and answer.text != text:
            self.wrong.append(answer)

    def posted(self):
        body = self.rng.randbytes(self.rng.randrange(1, 300000))
        answer = self.ask(self.url("head&echo"), body)
        if answer.status == 200 and answer.is_complete and answer.body != body:
            self.wrong.append(answer)

    def crash(self):
        answer = self.ask(self.url("head&out=20000&kill=11"))
        if answer.is_complete and answer.status == 200:
            self.wrong.append(answer)

    def late(self):
        answer = self.ask(self.url("head&out=10&hang"))
        if answer.is_complete and answer.status == 200:
            self.wrong.append(answer)

    def short(self):
        self.ask(self.url("head&sum"), b"x" * 100,
                 CONTENT_LENGTH=str(self.rng.choice((50, 150))))

    def many(self):
        with self.host.connect() as connection:
            for lap in range(1, 15):
                connection.send(fcgi.request_bytes(
                    self.url(f"head&raw={lap}"), request_id=lap,
                    flags=fcgi.KEEP_CONN))
                answer = connection.read_answer(lap)
                if answer.status == 200 and answer.text != str(lap):
                    self.wrong.append(answer)

    def leave(self):
        with self.host.connect() as connection:
            connection.send(fcgi.request_bytes(
                self.url("head&tick=20,10&out=500000")))
            time.sleep(self.rng.random() * 0.2)

    def abort(self):
        with self.host.connect() as connection:
            connection.send(fcgi.request_bytes(self.url("sleep=300&head")))
            time.sleep(self.rng.random() * 0.1)
            connection.send(fcgi.record(fcgi.ABORT, 1))
            connection.read_answer()

    def mutate(self):
        data = bytearray(fcgi.request_bytes(self.url("head&sum"), b"y" * 500))
        for _ in range(self.rng.randrange(1, 8)):
            data[self.rng.randrange(len(data))] = self.rng.randrange(256)
        with self.host.connect(timeout=0.3) as connection:
            connection.send(bytes(data))
            while connection.read_record():
                pass

    def partial(self):
        data = fcgi.request_bytes(self.url("head&sum"), b"z" * 70000)
        with self.host.connect() as connection:
            connection.send(data[:self.rng.randrange(len(data))])

    def slow(self):
        with self.host.connect() as connection:
            connection.send(fcgi.request_bytes(self.url("head&out=2000000")))
            for _ in range(self.rng.randrange(1, 8)):
                connection.sock.recv(2000)
                time.sleep(0.03)


def administrate(host, programs, until, rng):
    """Reloads, good and bad, rotations, replaced files."""
    old, lap = [], 0
    while time.monotonic() < until:
        lap += 1
        time.sleep(0.3)
        act = rng.randrange(4)
        if act == 0:
            host.configure({"defaults": {"queue": str(50 + lap)}})
            assert host.verb("reload").returncode == 0
        elif act == 1:
            host.configure({"defaults": {"nonsense": "1"}})
            assert host.verb("reload").returncode != 0
            del host.sections["defaults"]["nonsense"]
            host.configure({})
        elif act == 2:
            place = host.log_dir / f"old.{lap:03}"
            host.accounting.rename(place)
            assert host.verb("reopen").returncode == 0
            old.append(place)
        else:
            host.add("tenant/c.cgi", programs.cgi.read_bytes() + b"%d" % lap)
    return old


def check_books(host, clients, files):
    records = [r for path in files for r in books.Books(path).all()]
    books.check_seq(records, True)
    ids = [r["request_id"] for r in records if r["type"] == "exec"]
    counts = {one: ids.count(one) for client in clients
              for one in client.whole}
    wrong = {one: n for one, n in counts.items() if n != 1}
    assert not wrong, wrong
    spent = sum(r["cpu_us"] for r in records if r["type"] == "exec") + \
        sum(r["start_cpu_us"] + r["idle_cpu_us"] for r in records
            if r["type"] == "instance")
    total = records[-1]["cgroup_cpu_us"]
    assert 0.99 <= spent / total <= 1.01, f"{spent} of {total}"


def test_after_chaos_the_books_are_whole_and_nothing_is_left(start_once,
                                                             programs):
    host = start_once.host({
        "c.cgi": programs.cgi, "f.fcgi": programs.fcgi,
        "zero.cgi": programs.cgi, "tenant/c.cgi": programs.cgi,
        "tenant/f.fcgi": programs.fcgi}, {
            "defaults": {"timeout": "700ms", "abort_grace": "50ms",
                         "idle": "500ms", "instances": "2"},
            "function zero": {"idle": "0"}})
    for name in ("c", "f", "zero", "tenant/c", "tenant/f"):
        host.fetch(f"/fn/{name}?head")
    host.wait_prepared(5)
    before = leaks.at_rest(host)
    roles = host.roles()
    until = time.monotonic() + SECONDS
    clients = [Client(host, n, until) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    old = administrate(host, programs, until, random.Random(SEED))
    for client in clients:
        client.join()
    wrong = [answer for client in clients for answer in client.wrong]
    assert not wrong, f"{len(wrong)} wrong answers: {wrong[0]!r}"
    assert sum(client.acts for client in clients) > 20 * SECONDS
    host.wait_prepared(5)
    leaks.settle(host, before)
    assert host.roles() == roles, "a role was restarted"
    host.stop()
    check_books(host, clients, [*old, host.accounting])
