"""One running fcgi-host in a private directory, and all that is known of it."""
import fcntl
import grp
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

from lib import books, fcgi, manager as manager_room, proc, programs

ACCOUNT = "fcgi-host"
SICK = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|event=panic")

RUNTIMES = """
[runtime sh]
extensions = sh
protocol = cgi
command = /bin/sh

[runtime python]
extensions = py
protocol = cgi
command = /usr/bin/python3

[runtime perl]
extensions = pl
protocol = cgi
command = /usr/bin/perl
"""


def make_account():
    """The service account, made once; several test runs may ask together."""
    with open("/tmp/fcgi-host-tests.lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            pwd.getpwnam(ACCOUNT)
        except KeyError:
            # a group of that name may have outlived its user
            has_group = any(g.gr_name == ACCOUNT for g in grp.getgrall())
            subprocess.run(["useradd", "--system", "--no-create-home",
                            *(["-g", ACCOUNT] if has_group else []),
                            "--shell", "/usr/sbin/nologin", ACCOUNT],
                           check=True)


def new_id():
    """A request id that nobody else uses."""
    return "t" + os.urandom(10).hex()


def ini(sections):
    """{"host": {"listen": …}} as text."""
    out = []
    for name, keys in sections.items():
        out.append(f"[{name}]")
        out += [f'{key} = "{value}"' for key, value in keys.items()]
        out.append("")
    return "\n".join(out)


def become_user():
    """The words before a command that an ordinary user is to run."""
    if os.geteuid() != 0:
        return []
    make_account()
    user = pwd.getpwnam(ACCOUNT)
    return [shutil.which("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}",
            "--clear-groups", "--pdeathsig=TERM"]


def write_atomically(path, data, mode=0o644, own=None):
    """A new file, then a rename: nobody sees half of it."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temp = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data.encode() if isinstance(data, str) else data)
        os.chmod(temp, mode)
        if own is not None:
            own(temp)
        os.rename(temp, path)
    except BaseException:
        if os.path.exists(temp):
            os.unlink(temp)
        raise


class Host:
    """The daemon: start(), stop(), and in between verbs, books, requests.

    sections: overrides of the configuration, {"defaults": {"idle": "1s"}};
    text: more of the file, as it is, put before the runtimes; runtimes: the
    runtime sections; wrap: a command that starts it, as ("prlimit", "…");
    stores: the service manager keeps sockets for the next start; as_user: an
    ordinary user starts it, and gives the verbs (else root, if we are root).
    """

    def __init__(self, installed, sections=None, text="", runtimes=RUNTIMES,
                 socket_name="s", wrap=(), stores=False, as_user=False):
        self.become = become_user() if as_user else []
        if os.geteuid() == 0:
            make_account()
        self.installed = installed
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.functions = self.dir / "fn"
        self.run_dir = self.dir / "run"
        self.state = self.dir / "state"
        self.log_dir = self.dir / "log"
        for directory in (self.functions, self.run_dir, self.state,
                          self.log_dir):
            directory.mkdir(mode=0o755)
            self.own(directory)
        self.own(self.dir)
        self.accounting = self.log_dir / "a.log"
        self.log_path = self.dir / "host.log"
        self.socket = str(self.run_dir / socket_name)
        self.ini_path = self.dir / "h.ini"
        self.text, self.runtimes = text, runtimes
        # HOST_WRAP: a command before all of them, as a service manager's that
        # gives each a cgroup of its own
        self.wrap = (os.environ.get("HOST_WRAP", "").split() + list(wrap) +
                     self.become)
        self.sections = {"host": {
            "listen": self.socket, "listen_mode": "0666",
            "functions": self.functions, "accounting": self.accounting,
            "run": self.run_dir, "state": self.state, "url_prefix": "/fn",
            "user": ACCOUNT}}
        self.configure(sections or {})
        self.books = books.Books(self.accounting)
        self.process = None
        self.manager = manager_room.Manager(self.dir / "notify", stores)
        self.told = 0  # what the manager had heard before this start

    def own(self, path):
        """Gives what root made to the user whose host it is."""
        if self.become:
            user = pwd.getpwnam(ACCOUNT)
            os.chown(path, user.pw_uid, user.pw_gid)

    # -------------------------------------------------------- configuration

    def configure(self, sections, text=None):
        """Merges sections into the configuration and writes the file."""
        for name, keys in sections.items():
            self.sections.setdefault(name, {}).update(keys)
        if text is not None:
            self.text = text
        write_atomically(self.ini_path, ini(self.sections) + self.text +
                         self.runtimes)
        self.own(self.ini_path)

    def add(self, name, source, mode=0o755):
        """Drops a function: source is a program's path, or the text."""
        if isinstance(source, pathlib.Path):
            source = source.read_bytes()
        self.put(name, source, mode)

    def put(self, name, source, mode=0o644):
        path = self.functions / name
        made = [folder for folder in path.parents if not folder.exists()]
        write_atomically(path, source, mode, self.own)
        for folder in made:
            self.own(folder)

    def sidecar(self, name, **keys):
        self.put(f"{name}.ini", ini({"function": keys}))

    # ----------------------------------------------------------- life

    def start(self, timeout=30):
        """Starts `run` and waits for READY=1."""
        self.launch()
        self.wait_notice("READY=1", timeout)
        self.wait_role("gateway")
        self.wait_role("scanner")
        return self

    def launch(self, *options):
        """Starts `run`, as a service manager does, and waits for nothing."""
        command = [*self.wrap, str(self.installed.command), "run", "-c",
                   str(self.ini_path), *options]
        handed = [fd for _, fd in self.manager.handed()]
        if handed:
            command = manager_room.launch(handed, command)
        self.told = len(self.manager.said)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.installed.environment(
                    FH_TEST_MARKER="daemon", **self.manager.environment()),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd="/", pass_fds=handed,
                preexec_fn=programs.end_with_parent)

    def wait_notice(self, notice, timeout=30):
        """Waits for a word to the service manager, since the last start."""
        try:
            if self.manager.wait(notice, self.told, timeout,
                                 lambda: self.process.poll() is not None):
                return
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.log()[-4000:]}") from None
        raise AssertionError(f"`run` ended with {self.process.returncode}:\n"
                             f"{self.log()[-4000:]}")

    def take_over(self, timeout=60):
        """A second `run` in the place of the one that runs."""
        old = self.process
        self.launch("--takeover")
        self.wait_notice("READY=1", timeout)
        assert old.wait(30) == 0, self.log()[-4000:]
        return self

    @property
    def pid(self):
        return self.process.pid

    def roles(self):
        """{"spawner": pid, "gateway": pid, "scanner": pid}.

        `run` becomes the spawner, and the others are its children; a sandbox
        that is still being made runs the spawner's program too."""
        found = {}
        if proc.program(self.pid) == "fcgi-host-spawner":
            found["spawner"] = self.pid
        for pid in proc.descendants(self.pid):
            name = proc.program(pid)
            if name in ("fcgi-host-gateway", "fcgi-host-scanner"):
                found[name[len("fcgi-host-"):]] = pid
        return found

    def wait_role(self, name, timeout=30):
        """The pid of a role, which after a fork runs the spawner's program for
        a moment, and after its end is not there for one."""
        until = time.monotonic() + timeout
        while True:
            pid = self.roles().get(name)
            if pid:
                return pid
            assert time.monotonic() < until, f"no {name}:\n{self.log()[-2000:]}"
            time.sleep(0.01)

    def instances(self):
        """Processes below the daemon that are none of its roles."""
        roles = set(self.roles().values())
        return [pid for pid in proc.descendants(self.pid)
                if pid not in roles and proc.is_alive(pid)]

    def find_cgroup(self):
        """The parent cgroup of this run, as the host says it; None: none."""
        found = re.findall(r'event=start .*cgroup="([^"]+)"', self.log())
        mount = proc.cgroup_v2_mount()
        if mount is None or not found:
            return None
        return pathlib.Path(mount + found[-1])

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, timeout=30):
        """SIGTERM, and the proof of a clean end."""
        if self.process is None:
            return
        below = proc.descendants(self.pid) if self.process.poll() is None \
            else []
        code = self.process.poll()
        if code is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(below)
            raise AssertionError(f"`run` still lives {timeout} s after "
                                 f"SIGTERM:\n{self.log()[-4000:]}") from None
        left = wait_gone(below)
        group = self.find_cgroup()
        has_left_group = group is not None and group.exists()
        self.kill(left)
        self.process = None
        assert code == 0, f"`run` ended with {code}:\n{self.log()[-4000:]}"
        assert not left, f"processes outlived the daemon: {left}"
        assert not has_left_group, f"{group} was left behind"
        self.check_log()

    def kill(self, pids):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in pids:
            if proc.is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.remove_cgroup()

    def remove_cgroup(self):
        """After a failed test: what the daemon could not remove itself."""
        group = self.find_cgroup()
        if group is None or not group.exists():
            return
        wait_gone([int(pid) for path in group.rglob("cgroup.procs")
                   for pid in path.read_text().split()])
        for directory in [*sorted((e for e in group.rglob("*")
                                   if e.is_dir()), reverse=True), group]:
            try:
                directory.rmdir()
            except OSError:
                pass

    def remove(self):
        self.manager.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ----------------------------------------------------- looking at it

    def log(self):
        """The operational log so far."""
        try:
            return self.log_path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def ledgers(self):
        """The accounting log, and what it was before a rotation."""
        return [path for path in {self.accounting, *self.log_dir.glob("*")}
                if path.is_file()]

    def check_log(self):
        found = SICK.search(self.log())
        if found:
            at = max(0, found.start() - 200)
            raise AssertionError(f"the log shows a fault:\n"
                                 f"{self.log()[at:at + 4000]}")

    def wait_log(self, pattern, timeout=30):
        """The first match of a regular expression in the log."""
        until = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.log(), re.MULTILINE)
            if found:
                return found
            if time.monotonic() > until:
                raise AssertionError(f"no {pattern!r} in the log:\n"
                                     f"{self.log()[-3000:]}")
            time.sleep(0.02)

    def wait_file(self, path, timeout=30):
        """Until a function has made the file."""
        until = time.monotonic() + timeout
        while not path.exists():
            assert time.monotonic() < until, f"no {path}"
            time.sleep(0.02)
        return path

    def verb(self, name, *args, timeout=60):
        """Runs `fcgi-host NAME -c INI …`."""
        return self.installed.run(name, "-c", self.ini_path, *args,
                                  timeout=timeout, wrap=self.become)

    def fetch(self, url, body=b"", **extra):
        """One direct FastCGI request."""
        return fcgi.fetch(self.socket, url, body, **extra)

    def execute(self, url, body=b"", timeout=30, **extra):
        """One direct request with an id of its own: (answer, its record)."""
        request_id = new_id()
        answer = self.fetch(url, body, REQUEST_ID=request_id, **extra)
        return answer, self.books.wait_request(request_id, timeout)

    def connect(self, timeout=60):
        return fcgi.Connection(self.socket, timeout)

    def wait_served(self, url, timeout=30, status=200):
        """Asks until the URL gives the status; the answer."""
        until = time.monotonic() + timeout
        while True:
            answer = self.fetch(url)
            if answer.is_complete and answer.status == status:
                return answer
            assert time.monotonic() < until, \
                f"{url} still gives {answer!r}\n{self.log()[-2000:]}"
            time.sleep(0.05)

    def wait_instances(self, count, timeout=30):
        """Until exactly `count` sandboxes are there (their inits)."""
        until = time.monotonic() + timeout
        while True:
            facts = [(pid, proc.stat(pid)) for pid in self.instances()]
            found = [pid for pid, fact in facts
                     if fact and fact[2] == self.pid]
            if len(found) == count:
                return found
            assert time.monotonic() < until, \
                f"{len(found)} instances, not {count}\n{self.log()[-2000:]}"
            time.sleep(0.05)

    def wait_asked(self, name, count, timeout=30):
        """Until exactly so many requests run or wait for a function."""
        until = time.monotonic() + timeout
        while True:
            rows = [f for f in json.loads(self.verb(
                "status", "--json").stdout)["functions"]
                if f["function"] == name]
            if rows and rows[0]["busy"] + rows[0]["waiting"] == count:
                return
            assert time.monotonic() < until, rows
            time.sleep(0.02)

    def instances_of(self, name):
        """A function's rows of `status`."""
        status = json.loads(self.verb("status", "--json").stdout)
        return [i for i in status["instances"] if i["function"] == name]

    def wait_states(self, name, wanted, timeout=30):
        """Until the function's instances have exactly these states; their rows."""
        until = time.monotonic() + timeout
        while True:
            found = self.instances_of(name)
            if sorted(i["state"] for i in found) == sorted(wanted):
                return found
            assert time.monotonic() < until, \
                f"{name}: {found}, not {wanted}\n{self.log()[-2000:]}"
            time.sleep(0.03)

    def leaf_of(self, instance):
        """The cgroup of a FastCGI instance, by its row of `status`: the one whose
        processes have its listening socket."""
        with open("/proc/net/unix", encoding="utf-8") as table:
            sockets = {f"socket:[{line.split()[6]}]" for line in table
                       if line.rstrip().endswith(f"/{instance['instance']}.sock")}
        leaf, = {leaf for leaf in self.find_cgroup().glob("**/i[0-9]*")
                 for pid in (leaf / "cgroup.procs").read_text().split()
                 if sockets & set(proc.links(pid))}
        return leaf

    def wait_booted(self, name, timeout=30):
        """Until the program of the function's spare is executed, which `status`
        does not wait for; (its row, init's pid, the program's)."""
        until = time.monotonic() + timeout
        while True:
            found, = self.wait_states(name, ["spare"])
            pids = sorted(map(int, (self.leaf_of(found) / "cgroup.procs")
                              .read_text().split()))
            if len(pids) == 2 and \
                    b"FCGI_HOST_SPARE=1" in proc.environ(pids[1]):
                found, = self.instances_of(name)
                return found, *pids
            assert time.monotonic() < until, (pids, self.log()[-2000:])
            time.sleep(0.02)

    def wait_retired(self, name, instance, timeout=30):
        """Until it is none of the function's any more."""
        until = time.monotonic() + timeout
        while instance["instance"] in [i["instance"] for i in
                                       self.instances_of(name)]:
            assert time.monotonic() < until, f"{instance} goes on"
            time.sleep(0.03)

    def wait_prepared(self, count, timeout=30):
        """Until all that is left of instances is so many prepared ones."""
        until = time.monotonic() + timeout
        while True:
            found = [i["state"] for i in json.loads(
                self.verb("status", "--json").stdout)["instances"]]
            if found == ["prepared"] * count:
                return
            assert time.monotonic() < until, \
                f"{found}, not {count} prepared\n{self.log()[-2000:]}"
            time.sleep(0.05)


def wait_gone(pids, timeout=30):
    """Those of the processes that are still there after the time."""
    until = time.monotonic() + timeout
    while True:
        left = [pid for pid in pids if proc.is_alive(pid)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)
