#!/usr/bin/python3
"""Makes table.json of sentences.txt: for each word how much it speaks for a good
mood (naive Bayes, in hundredths of a natural logarithm, add-one smoothing).

    ./train.py      after a change of the sentences
"""

import collections
import json
import math
import pathlib
import re

HERE = pathlib.Path(__file__).parent


def main():
    seen = {"+": collections.Counter(), "-": collections.Counter()}
    for line in (HERE / "sentences.txt").read_text("utf-8").splitlines():
        mood, _, text = line.partition(" ")
        seen[mood].update(set(re.findall(r"\w+", text.lower())))
    words = sorted(set(seen["+"]) | set(seen["-"]))
    sums = {mood: sum(count.values()) + len(words)
            for mood, count in seen.items()}
    table = {}
    for word in words:
        weight = round(100 * (math.log((seen["+"][word] + 1) / sums["+"]) -
                              math.log((seen["-"][word] + 1) / sums["-"])))
        # what stands in both kinds alike says nothing
        if abs(weight) >= 40:
            table[word] = weight
    (HERE / "table.json").write_text(json.dumps(table, indent=0) + "\n", "utf-8")
    print(len(table), "words")


main()
