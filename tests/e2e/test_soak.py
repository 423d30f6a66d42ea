"""A short soak; `make soak` is the long one."""
import os

from soak import run

SECONDS = float(os.environ.get("SOAK_SECONDS", "25"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
EXECUTIONS = 5000 # beside those of the varied clients


def test_a_soak_loses_no_record_and_leaves_nothing(start_once, programs):
    host = start_once.host(run.functions(programs), run.SECTIONS,
                           is_started=False)
    run.hold_socket(host)
    host.start()
    nginx = run.start_nginx(host)
    start_once.made.append(nginx)
    # how many there are in the time is the machine's matter
    problems = run.Soak(host, nginx, programs, SECONDS, SEED,
                        EXECUTIONS, least=0.02).run()
    assert not problems, "\n".join(problems[:5])
