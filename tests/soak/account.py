"""Whether every record is there, and every segment plays."""

import collections
import json
import subprocess


class Ledger:
    """Reads record files, one after the other, and holds each source's frames against its numbers and its end.

    A source that is removed and comes again counts from 0: between an end and the next 0 it is one life. A life's frames whose lines are missing are
    those between its numbers, and those its end counts beyond. Where the disk was full when it ended, its end has no line either, and the next life may
    be seen by its numbers alone: they go back. `was_full` says whether the disk was full at about a time, in seconds since 1970."""

    def __init__(self, was_full):
        self.was_full = was_full
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
        is_frame, at = kind == "frame", line.get("live", {}).get("captured_unix_ns", 0) / 1e9
        goes_back = is_frame and lives and lives[-1]["ended"] is None and line["frame"] < lives[-1]["next"]
        if goes_back and not self.was_full(lives[-1]["at"]) and not self.was_full(at):
            self.wrong.append(f"{line['source']}: frame {line['frame']} where {lives[-1]['next']} was next")
        if not lives or lives[-1]["ended"] is not None or goes_back:
            lives.append({"frames": 0, "next": 0, "skipped": 0, "paused": 0, "ended": None, "at": 0})
        life = lives[-1]
        if kind == "end":
            life["ended"] = line["frames"]
            if line["frames"] < life["frames"] and not life["skipped"] + life["paused"] and not self.was_full(life["at"]):
                self.wrong.append(f"{line['source']}: an end after {line['frames']} frames, of which {life['frames']} have a line")
        if is_frame:
            # Nothing is made of the frames of a source that is paused, and the first after them tells the gap.
            is_back = life["frames"] and "gap_ns" in line.get("live", {})
            life["paused" if is_back else "skipped"] += line["frame"] - life["next"]
            life["frames"] += 1
            life["next"], life["at"] = line["frame"] + 1, at

    def missing(self, source):
        """Frames without a line: known by the end, else by the numbers. Fewer than there are lines are of a second life, where what parts it from the
        first found the disk full."""
        lives = self.lives[source]
        return sum(life["skipped"] if life["ended"] is None else max(0, life["ended"] - life["frames"]) for life in lives)


def packets(path):
    """Of the video in a file, and what ffprobe has to complain of."""
    line = "nice ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0".split()
    probed = subprocess.run([*line, str(path)], capture_output=True, text=True)
    count = probed.stdout.strip().strip(",")
    return int(count) if count.isdigit() else 0, probed.stderr.strip()
