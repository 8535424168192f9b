"""Whether every record is there, and every segment plays."""

import collections
import json
import subprocess


class Ledger:
    """Reads record files, one after the other, and holds each source's frames against its numbers and its end.

    A source that is removed and comes again counts from 0: between an end and the next 0 it is one life. A life's frames whose lines are missing are
    those between its numbers, and those its end counts beyond."""

    def __init__(self):
        self.lives = collections.defaultdict(list)
        self.lines, self.kinds, self.wrong = 0, collections.Counter(), []

    def read(self, path):
        with open(path, "rb") as file:
            for line in file:
                self.lines += 1
                try:
                    self.take(json.loads(line))
                except (ValueError, KeyError) as error:
                    self.wrong.append(f"{path.name}: {error!r}: {line[:120]!r}")

    def take(self, line):
        kind, lives = line["kind"], self.lives[line["source"]]
        self.kinds[kind if kind != "state" else line["state"]] += 1
        if not lives or lives[-1]["ended"] or (kind == "frame" and line["frame"] == 0 and lives[-1]["frames"]):
            lives.append({"frames": 0, "next": 0, "skipped": 0, "paused": 0, "ended": None})
        life = lives[-1]
        if kind == "end":
            life["ended"] = line["frames"]
        if kind == "frame":
            if line["frame"] < life["next"]:
                self.wrong.append(f"{line['source']}: frame {line['frame']} where {life['next']} was next")
            skipped = line["frame"] - life["next"]
            is_back = "gap_ns" in line.get("live", {})
            life["paused" if is_back else "skipped"] += skipped
            life["frames"] += 1
            life["next"] = line["frame"] + 1

    def missing(self, source):
        """Frames without a line: known by the end, else by the numbers."""
        lives = self.lives[source]
        return sum(life["skipped"] if life["ended"] is None else life["ended"] - life["frames"] for life in lives)


def packets(path):
    """Of the video in a file, and what ffprobe has to complain of."""
    line = "nice ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0".split()
    probed = subprocess.run([*line, str(path)], capture_output=True, text=True)
    count = probed.stdout.strip().strip(",")
    return int(count) if count.isdigit() else 0, probed.stderr.strip()
