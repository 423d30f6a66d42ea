"""`make soak`: SOAK_SECONDS (600), SOAK_SEED (of the clock), SOAK_PAUSE,
SOAK_EXECUTIONS (1000000): so many beside those of the varied clients."""
import os
import pathlib
import sys
import tempfile
import time

from lib import host as host_room, programs as programs_room
from soak import run


def main():
    if os.geteuid() != 0:
        sys.exit("soak: it starts the host as root; run it as root")
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    seed = int(os.environ.get("SOAK_SEED", str(int(time.time()) % 100000)))
    pause = float(os.environ.get("SOAK_PAUSE", "0.02"))
    executions = int(os.environ.get("SOAK_EXECUTIONS", "1000000"))
    installed = programs_room.Installed()
    with tempfile.TemporaryDirectory(prefix="fh-soak-") as place:
        programs = programs_room.Compiler(pathlib.Path(place))
        host = host_room.Host(installed, run.SECTIONS)
        nginx = None
        try:
            for name, source in run.functions(programs).items():
                host.add(name, source)
            run.hold_socket(host)
            host.start()
            nginx = run.start_nginx(host)
            problems = run.Soak(host, nginx, programs, seconds, seed,
                                executions, pause).run()
        finally:
            if nginx is not None:
                nginx.stop()
            if host.process is not None:
                host.kill(host.instances())
    if problems:
        sys.exit(f"soak: what it left is in {host.dir} and {nginx.dir}")
    host.remove()
    nginx.remove()


if __name__ == "__main__":
    main()
