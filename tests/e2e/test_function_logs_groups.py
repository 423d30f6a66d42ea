"""Whose group reads a function's log: its tenant's, where no other tenant is in it."""
import contextlib
import grp
import stat
import subprocess

from test_function_logs import function_host, wait_text, write


def test_accounts_that_share_a_group_do_not_read_each_other(start_once, programs):
    """The group would let both in."""
    with function_host(start_once, {"alice/one.cgi": programs.cgi,
                                    "bob/one.cgi": programs.cgi}) as made:
        made.stop()
        with shared_accounts() as (first, second, gid):
            made.configure({"tenant alice": {"user": first},
                            "tenant bob": {"user": second}})
            made.start()
            write(made, "of-alice", "alice/one")
            wait_text(made.function_logs / "alice/one.log", "of-alice")
            folder = (made.function_logs / "alice").stat()
            assert folder.st_gid != gid
            assert stat.S_IMODE(folder.st_mode) == 0o700
            assert "have one group" in made.verb("check").stdout
            made.stop()


def test_an_account_that_was_taken_into_anothers_group_does_not_read_him(
        start_once, programs):
    with function_host(start_once, {"alice/one.cgi": programs.cgi,
                                    "bob/one.cgi": programs.cgi}) as made:
        made.stop()
        with shared_accounts() as (first, second, _):
            subprocess.run(["groupadd", "--system", "fh-test-own"], check=True)
            try:
                subprocess.run(["usermod", "-g", "fh-test-own", first], check=True)
                subprocess.run(["usermod", "-aG", "fh-test-own", second],
                               check=True)
                made.configure({"tenant alice": {"user": first},
                                "tenant bob": {"user": second}})
                made.start()
                for tenant in ("alice", "bob"):
                    write(made, f"of-{tenant}", f"{tenant}/one")
                    wait_text(made.function_logs / tenant / "one.log",
                              f"of-{tenant}")
                modes = [stat.S_IMODE((made.function_logs / tenant).stat().st_mode)
                         for tenant in ("alice", "bob")]
                assert modes == [0o700, 0o750]
                assert "alice and bob have one group" in made.verb("check").stdout
                made.stop()
            finally:
                subprocess.run(["usermod", "-g", "fh-test-both", first], check=False)
                subprocess.run(["groupdel", "fh-test-own"], check=False)


def test_what_was_written_before_another_joined_the_group_is_read_by_neither(
        start_once, programs):
    """Not only when the next line is written."""
    with function_host(start_once, {"alice/one.cgi": programs.cgi,
                                    "bob/one.cgi": programs.cgi}) as made:
        made.stop()
        with shared_accounts() as (first, second, gid):
            made.configure({"tenant alice": {"user": first}})
            made.start()
            write(made, "of-alice", "alice/one")
            folder = made.function_logs / "alice"
            assert (folder.stat().st_gid, stat.S_IMODE(folder.stat().st_mode)) == \
                (gid, 0o750)
            made.configure({"tenant alice": {"user": first},
                            "tenant bob": {"user": second}})
            assert made.verb("reload").returncode == 0
            assert (folder.stat().st_gid, stat.S_IMODE(folder.stat().st_mode)) == \
                (0, 0o700)
            made.sections.pop("tenant bob")
            made.configure({})
            made.stop()
            made.start()
            assert (folder.stat().st_gid, stat.S_IMODE(folder.stat().st_mode)) == \
                (gid, 0o750)
            made.stop()


@contextlib.contextmanager
def shared_accounts():
    """Two accounts whose primary group is one."""
    names = ["fh-test-one", "fh-test-two"]
    subprocess.run(["groupadd", "--system", "fh-test-both"], check=True)
    try:
        for name in names:
            subprocess.run(["useradd", "--system", "--no-create-home", "-g",
                            "fh-test-both", name], check=True)
        yield (*names, grp.getgrnam("fh-test-both").gr_gid)
    finally:
        for name in names:
            subprocess.run(["userdel", name], check=False)
        subprocess.run(["groupdel", "fh-test-both"], check=False)
