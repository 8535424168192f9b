"""The section of docs/service.md that a stored report makes."""

import collections
import json
import pathlib
import re
import statistics

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORT, PAGE = ROOT / "docs/soak.json", ROOT / "docs/service.md"
BEGIN, END = "<!-- of docs/soak.json, by tests/soak -->\n", "<!-- end -->\n"
# A figure is the median of so many minutes before.
MINUTES = 5


def text(report):
    samples, minutes = report["samples"], report["minutes"]

    def near(key, minute):
        values = [value for value, second in zip(samples[key], samples["second"]) if minute - MINUTES <= second / 60 <= minute]
        return f"{statistics.median(values):.0f}"

    keys = {"memory (PSS), MiB": "pss_mib", "descriptors": "descriptors", "threads": "threads"}
    lines = [f"| median of {MINUTES} minutes up to | " + " | ".join(keys) + " |", "| --- |" + " --- |" * len(keys)]
    lines += [f"| minute {at:.0f} | " + " | ".join(near(key, at) for key in keys.values()) + " |" for at in (minutes / 6, minutes / 2, minutes)]
    of_all = collections.Counter()
    for source in report["sources"].values():
        of_all.update(source)
    acts = collections.Counter()
    for act, count in report["acts"].items():
        acts["reloads of the file" if act.startswith("reload") else "full disks" if act.startswith("full") else "faults of sources"] += count
    by_name = {judged["what"]: judged for judged in report["judged"]}
    segments = by_name["every segment plays, or was told to be broken"]["figures"]
    sigterm = by_name["SIGTERM ends it within seconds, with 130"]["figures"]
    clients = sum(count for act, count in report["clients"].items() if ":" not in act)
    lines += [
        "", "| | |", "| --- | --- |", f"| machine | {report['machine']}, of which the program used {samples['cpu_s'][-1] / samples['second'][-1]:.1f} |",
        "| what was done | " + ", ".join(f"{count} {act}" for act, count in sorted(acts.items())) + f", {clients} visits of clients |",
        f"| records | {sum(report['records'].values())} lines, {of_all['records']} of them frames, of {of_all['lives']} times that a source came and went |",
        f"| frames without a line | {of_all['missing']}; counted by the program: {of_all['unwritten']} unwritten, {of_all['missed_by_sinks']} that an output had no time for, {of_all['late']} left out |",
        f"| video files | {segments['segments']}, of which {len(segments['told'])} are cut off, and were told to be: the disk was full |",
        f"| SIGTERM | ended in {sigterm['seconds']:.1f} s with exit code {sigterm['code']} |",
    ]
    for judged in report["judged"]:
        if not judged["is_so"]:
            lines.append(f"| not so: {judged['what']} | {json.dumps(judged['figures'])[:400]} |")
    return "\n".join(lines) + "\n"


def page():
    """The page with the section as it should be."""
    made = BEGIN + text(json.loads(REPORT.read_text())) + END
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: made, PAGE.read_text(), flags=re.S)
