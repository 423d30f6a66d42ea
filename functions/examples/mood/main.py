"""Whether a text is in a good mood: a naive Bayes classifier whose table of words
is beside it; train.py makes that of sentences.txt.

    curl -d 'What a lovely day, and such good soup' http://127.0.0.1:8080/fn/mood
"""

import json
import math
import os
import pathlib
import re
import sys

TABLE = json.loads((pathlib.Path(__file__).parent / "table.json").read_text("utf-8"))


def classify(text):
    """The chance of a good mood, and the words that it comes from."""
    words = [word for word in dict.fromkeys(re.findall(r"\w+", text.lower()))
             if word in TABLE]
    total = sum(TABLE[word] for word in words) / 100
    chance = 1 / (1 + math.exp(-max(-30, min(30, total))))
    return {"good": round(chance, 3), "words": {w: TABLE[w] for w in words},
            "mood": "good" if chance > 0.6 else "bad" if chance < 0.4 else
            "neither"}


length = int(os.environ.get("CONTENT_LENGTH") or 0)
body = sys.stdin.buffer.read(length).decode("utf-8", "replace")
# Made before anything is printed: what fails behind a head looks whole.
answer = json.dumps(classify(body))
print(f"Content-Type: application/json\n\n{answer}")
