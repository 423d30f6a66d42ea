"""fcgi-host-sandbox at a terminal: a session of its own, the caller's terminal
untouched."""
import os
import pty
import signal
import subprocess
import termios
import time

import pytest

from lib import proc, terminal

UID = 70009


@pytest.fixture
def at(installed):
    """at(COMMAND …): the tool at a terminal."""
    made = []

    def start(*words, **more):
        made.append(terminal.Terminal(
            [installed.sandbox, "-q", "-u", UID, *words],
            installed.environment(), **more))
        return made[-1]
    yield start
    for one in made:
        one.__exit__()


def bash(at, **more):
    shell = at("bash", "--norc", "--noprofile", **more)
    shell.expect(r"bash-[\d.]+\$ ")
    return shell


def test_a_shell_has_a_terminal_and_job_control(at):
    shell = bash(at)
    assert "no job control" not in shell.seen.decode()
    assert shell.ask("test -t 0 && test -t 1 && test -t 2 && echo yes") == \
        "yes\n"
    shell.send("sleep 1000\r")
    shell.await_program("sleep")
    shell.send("\x1a")
    shell.expect("Stopped")
    shell.send("bg\r")
    shell.expect("sleep 1000 &")
    assert "Running" in shell.ask("jobs")
    assert "143" in shell.ask("kill %1; wait %1; echo $?")
    shell.send("exit 5\r")
    assert shell.wait() == 5 and shell.is_restored()


def test_ctrl_c_ends_what_runs_and_not_the_session(at):
    shell = bash(at)
    shell.send("sleep 1000\r")
    shell.await_program("sleep")
    shell.send("\x03")
    shell.expect(r"\^C.*\$ ")
    shell.send("echo st=$?\r")
    shell.expect("st=130")


def test_ctrl_c_ends_a_command_without_a_shell(at):
    one = at("sleep", "1000")
    one.await_program("sleep")
    one.send("\x03")
    assert one.wait() == 130 and one.is_restored()


def test_ctrl_z_does_not_stop_what_no_shell_would_continue(at):
    one = at("sh", "-c", "echo up; read x; echo got $x")
    one.expect("up\r\n")
    one.send("\x1a")
    time.sleep(0.3)
    one.send("on\r")
    one.expect("got on")
    assert one.wait() == 0


def test_the_window_has_its_size_and_follows(at):
    shell = bash(at, rows=33, columns=101)
    assert shell.ask("stty size") == "33 101\n"
    shell.follows(40, 120)


def test_the_callers_terminal_is_not_in_the_sandbox(at):
    shell = bash(at)
    outer = os.stat(shell.slave).st_rdev
    pids = proc.descendants(shell.process.pid)
    assert pids
    for pid in pids:
        text = open(f"/proc/{pid}/stat", encoding="utf-8").read()
        controlling = int(text[text.rindex(")") + 2:].split()[4])
        assert controlling not in (0, outer), pid
        for fd in os.listdir(f"/proc/{pid}/fd"):
            assert os.stat(f"/proc/{pid}/fd/{fd}").st_rdev != outer
    assert "No such" in shell.ask("ls /dev/tty /dev/pts /dev/ptmx 2>&1")


def test_nothing_can_be_typed_into_the_terminal(at):
    shell = bash(at)
    # TIOCSTI, the same with a bit that the kernel does not look at, TIOCSCTTY
    code = ("import ctypes\\ncall = ctypes.CDLL(None, use_errno=True).ioctl\\n"
            "for n in (0x5412, 0x100005412, 0x540e):\\n"
            "  print(call(0, ctypes.c_ulong(n), b\\\"x\\\"), ctypes.get_errno())")
    assert shell.ask(f"printf \"{code}\" > /tmp/t.py; python3 /tmp/t.py") == \
        "-1 1\n" * 3


def test_what_is_no_terminal_is_passed_on_as_it_is(at, installed):
    out, inside = os.pipe()
    one = at("sh", "-c", "test -t 0 && test -t 2 && ! test -t 1 && echo yes",
             stdout=inside)
    os.close(inside)
    assert one.wait() == 0
    assert os.read(out, 100) == b"yes\n"
    os.close(out)


def test_input_of_a_pipe_leaves_the_terminal_as_it_is(at):
    one = at("sh", "-c", "cat; test -t 1 && echo tty",
             stdin=subprocess.PIPE)
    assert one.is_restored()
    one.process.stdin.write(b"in\n")
    one.process.stdin.close()
    one.expect("in\r\ntty\r\n")
    assert one.wait() == 0 and one.is_restored()


def test_input_at_another_terminal_is_restored_as_that_one_was(at):
    master, other = pty.openpty()
    settings = termios.tcgetattr(other)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(other, termios.TCSANOW, settings)
    before = termios.tcgetattr(other)
    one = at("sh", "-c", "stty -a | grep -o '.echo '; cat", stdin=other)
    assert one.expect(r"(.)echo").group(1) == b"-"
    assert termios.tcgetattr(other) != before
    os.write(master, b"\x04")
    assert one.wait() == 0
    assert termios.tcgetattr(other) == before and one.is_restored()
    os.close(master)
    os.close(other)


def test_what_goes_on_writing_does_not_hold_the_end_up(at):
    one = at("sh", "-c", "trap '' HUP; yes & sleep 0.2; exit 3")
    assert one.wait() == 3 and one.is_restored()


def test_a_long_output_arrives_whole(at):
    one = at("sh", "-c", "seq 1 60000; echo end")
    found = one.expect("end\r\n", 30)
    text = found.string[:found.start()]
    assert text.decode().split() == [str(n) for n in range(1, 60001)]
    assert one.wait() == 0


def test_a_long_input_arrives_whole(at):
    one = at("sh", "-c", "stty raw -echo; echo up; head -c 100000 | sha256sum")
    one.expect("up")
    for _ in range(100):
        one.send("x" * 1000)
    one.expect("d69e68")
    assert one.wait() == 0 and one.is_restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal_and_ends_the_sandbox(at, number):
    shell = bash(at)
    below = proc.descendants(shell.process.pid)
    assert termios.tcgetattr(shell.slave) != shell.before
    shell.process.send_signal(number)
    assert shell.wait() == 128 + number and shell.is_restored()
    assert not [pid for pid in below if proc.is_alive(pid)]


def test_a_terminal_that_hangs_up_ends_the_sandbox(at):
    shell = bash(at)
    shell.send("trap '' HUP\r")
    below = proc.descendants(shell.process.pid)
    os.close(shell.slave)
    shell.slave = None
    shell.hang_up()
    assert shell.wait() == 129
    assert below and not [pid for pid in below if proc.is_alive(pid)]


def test_the_filter_of_a_command_without_a_terminal_is_that_of_a_function(
        at, installed):
    """What sets a terminal is refused there, as to every function."""
    script = ("import fcntl, termios\n"
              "try: fcntl.ioctl(0, termios.TCSETS, bytes(60))\n"
              "except OSError as e: print(e.errno)")
    done = subprocess.run(
        [installed.sandbox, "-q", "python3", "-c", script],
        env=installed.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"38\n"  # ENOSYS
