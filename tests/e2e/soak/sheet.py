"""What the clients were told, request by request, and what that claims."""
import collections
import threading

# From the weakest claim to the strongest.
UNKNOWN = "unknown"  # nothing came: there may be a record, or none
BEGUN = "begun"      # a function's byte came: it is recorded, once
SHOWN = "shown"      # a web server showed it as whole: recorded, once
WHOLE = "whole"      # END_REQUEST came: recorded before that, and not as lost


class Sheet:
    """One line a request: {request id: (claim, act, status)}."""

    def __init__(self):
        self.lock = threading.Lock()
        self.lines = {}
        self.problems = []
        self.counts = collections.Counter()
        self.on_problem = threading.Event()

    def add(self, request_id, claim, act, status=None):
        with self.lock:
            self.counts[claim] += 1
            self.counts[f"status {status}"] += status is not None
            self.counts[f"act {act}"] += 1
            if request_id is not None:
                self.lines[request_id] = (claim, act, status)

    def blame(self, text):
        """A promise is broken: the soak ends."""
        with self.lock:
            self.problems.append(text)
        self.on_problem.set()

    def judge(self, records):
        """Compares with {request id: [(execution, outcome), …]}."""
        for request_id, (claim, act, status) in self.lines.items():
            found = records.get(request_id, [])
            said = f"request {request_id} ({act}, {claim}, status {status})"
            if len(found) > 1:
                self.blame(f"{said} has {len(found)} records: {found}")
            elif not found and claim != UNKNOWN:
                self.blame(f"{said} has no record")
            elif claim == WHOLE and found[0][1] == "lost":
                self.blame(f"{said} was answered, and is recorded as lost")
