"""A week in an hour: one `mostream run` with everything on, while its sources, its disks, its clients and its config file come and go.

    python3 tests/soak [--minutes 60] [--folder FOLDER] [--program PROGRAM] [--keep]
    python3 tests/soak --check

`--keep` stores the report in docs/soak.json and renews its section of docs/service.md; `--check` says whether that section is the report's.

Ends with a line for each thing that was judged, and exit code 1 where one of them was not so. Needs Linux, ffmpeg, gst-launch-1.0, the built program
and its examples; and root, or user namespaces, for two small disks of its own (`unshare` makes them, and they are gone with it).
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import account
import cameras
import table
import visitors

ROOT = pathlib.Path(__file__).resolve().parents[2]
USER, PASSWORD, OTHER_PASSWORD, TOKEN = "watcher", "pass-of-the-door", "pass-of-the-yard", "token-of-the-page"
# How far a line through all samples but the first sixth may rise: MiB, descriptors, threads.
RISE = {"pss_mib": 16, "descriptors": 8, "threads": 8}
SAMPLE_S, TROUBLE_S, RELOAD_S, SEGMENT_S, END_S = 10, 8, 60, 20, 10
# What GStreamer 1.22's rtspsrc complains of by itself, where a stream breaks off in the middle of a packet.
KNOWN = "gst_event_set_seqnum: assertion 'seqnum != GST_SEQNUM_INVALID' failed"
# Nothing is disturbed any more before the end: the longest pause between two tries, and a connection.
CALM_S = 60


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=pathlib.Path, help="for all that is written; a new one without it")
    parser.add_argument("--keep", action="store_true", help="stores the report, and renews its section in the docs")
    parser.add_argument("--check", action="store_true", help="runs nothing: is the docs' section the stored report's?")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/mostream")
    return parser.parse_args()


def in_own_namespace():
    """Goes on in a namespace of its own, where disks can be made, and which takes all its processes with it."""
    if os.environ.get("MOSTREAM_SOAK") == "inside":
        return
    os.environ["MOSTREAM_SOAK"] = "inside"
    own = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        own += ["--user", "--map-root-user"]
    os.execvp("unshare", ["unshare", *own, sys.executable, str(ROOT / "tests/soak"), *sys.argv[1:]])


class Disk:
    """A small disk that can be full for a while."""

    def __init__(self, path, mib):
        self.path, self.filler, self.spans = path, path / "filler", []
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)], check=True)

    def fill(self):
        self.spans.append([time.time(), None])
        with open(self.filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass

    def empty(self):
        self.filler.unlink()
        self.spans[-1][1] = time.time()

    def was_full(self, at):
        """Or could not yet be written again: a source comes, and an output is tried, some seconds later."""
        return any(begin - 5 <= at <= (end or at) + 30 for begin, end in self.spans)


class Soak:
    def __init__(self, given):
        self.seconds = given.minutes * 60
        self.folder = given.folder or pathlib.Path(tempfile.mkdtemp(prefix="mostream-soak-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.videos, self.records = Disk(self.folder / "videos", 64), Disk(self.folder / "records", 32)
        self.page, self.rtsp = ("127.0.0.1", cameras.free_port()), ("127.0.0.1", cameras.free_port())
        (self.folder / "token").write_text(TOKEN + "\n")
        (self.folder / "door.secret").write_text(f"{USER}:{PASSWORD}\n")
        self.clip = self.folder / "clip.mp4"
        subprocess.run(f"ffmpeg -v error -f lavfi -i testsrc=size=160x120:rate=10 -t 6 -pix_fmt yuv420p {self.clip}".split(), check=True)
        camera = str(ROOT / "target/release/examples/rtsp_camera")
        self.sources = cameras.make(camera, self.folder, (USER, PASSWORD))
        self.chance, self.ledger, self.stop = random.Random(7), account.Ledger(self.records.was_full), threading.Event()
        self.reloads, self.samples, self.counters, self.undo = 0, [], {}, {}
        self.acts, self.told, self.checked, self.packets, self.faults = {}, [], {}, {}, []
        self.start(given.program)

    def start(self, program):
        self.config = self.folder / "soak.toml"
        self.config.write_text(self.config_text())
        environment = os.environ | {"MOSTREAM_RTSP_USER": "nobody", "MOSTREAM_RTSP_PASSWORD": "of-the-environment"}
        library = sorted(ROOT.glob(".venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*"))
        if library:
            environment.setdefault("ORT_DYLIB_PATH", str(library[0]))
        # As the unit and the container have it.
        environment.setdefault("MALLOC_ARENA_MAX", "2")
        environment |= {"XDG_STATE_HOME": str(self.folder / "state"), "RUST_BACKTRACE": "1"}
        # Whoever begins this under nohup would have it ignored, and the program leave it so.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        command = [str(program), "run", "--config", str(self.config)]
        self.child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.proc = pathlib.Path(f"/proc/{self.child.pid}")
        self.log = open(self.folder / "log.jsonl", "w")
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()

    def config_text(self):
        """The file as it is after so many reloads."""
        n = self.reloads
        lines = [
            f'records = "{self.records.path}/records.jsonl"',
            f'events = "{self.records.path}/events.jsonl"',
            f'event-store = "{self.records.path}/events.redb"',
            f'web = "{self.page[0]}:{self.page[1]}"',
            f'web-token = "{self.folder}/token"',
            f'rtsp-out = "{self.rtsp[0]}:{self.rtsp[1]}"',
            f'output = "{self.videos.path}/{{name}}.mp4"',
            f'segment = "{SEGMENT_S}s"',
            'log-json = true\nsize = "128x96"\nstall-after = "4s"',
        ]
        pattern = ["ball", "smpte", "circular"][n % 3]
        pipe = f"videotestsrc is-live=true num-buffers=200 pattern={pattern} ! video/x-raw,format=I420,width=160,height=120,framerate=5/1 ! appsink name=frames"
        own = {
            "door": f'credentials = "{self.folder}/door.secret"\nadaptive = true',
            "yard": f"every = {[1, 2, 3][n // 3 % 3]}",
            "gate": "paused = true" if n % 5 == 3 else "",
            "hall": "[[source.zone]]\nname = \"mat\"\npolygon = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]" if n % 2 else "",
            "shop": "[[source.mask]]\npolygon = [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0]]" if n % 4 == 1 else "",
        }
        inputs = {name: source.url for name, source in self.sources.items()}
        inputs["yard"] = inputs["yard"].replace("//", f"//{USER}:{OTHER_PASSWORD}@")
        inputs |= {"pipe": pipe, f"film-{n}": str(self.clip)}
        if n % 2:
            inputs["extra"] = self.sources["gate"].url
        for name, url in inputs.items():
            lines += [f'[[source]]\nname = "{name}"\ninput = "{url}"', own.get(name, "")]
        return "\n".join(lines) + "\n"

    def read_log(self):
        secrets = [PASSWORD, OTHER_PASSWORD, TOKEN, "of-the-environment", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()]
        for line in self.child.stderr:
            line = line.decode(errors="replace")
            self.log.write(line)
            self.log.flush()
            if any(secret in line for secret in secrets):
                self.faults.append(f"a secret in the log: {line.strip()}")
            try:
                told = json.loads(line)
            except ValueError:
                self.faults.append(f"a line of the log is no JSON: {line.strip()}")
                continue
            if re.search("panicked|CRITICAL|assertion", told["message"]) and KNOWN not in told["message"]:
                self.faults.append(f"the log: {told['message']}")
            if told["level"] != "info":
                self.told.append(told["message"])

    def did(self, what):
        self.acts[what] = self.acts.get(what, 0) + 1
        print(f"{time.strftime('%H:%M:%S')} {what}", file=self.diary, flush=True)

    def run(self):
        self.diary = open(self.folder / "diary.txt", "w")
        for _ in range(60):
            with contextlib.suppress(OSError), socket.create_connection(self.page):
                break
            time.sleep(0.5)
        self.visitors = visitors.Visitors(self.page, TOKEN, self.rtsp, [self.sources["gate"].url], self.stop)
        begun = time.monotonic()
        while time.monotonic() - begun < self.seconds and self.child.poll() is None:
            second = int(time.monotonic() - begun)
            is_calm = second >= self.seconds - CALM_S
            for act in [act for at, act in self.undo.items() if at <= second or is_calm]:
                del self.undo[next(at for at, one in self.undo.items() if one is act)]
                act()
            if second % SAMPLE_S == 0:
                self.sample(second)
            if second % SEGMENT_S == 5:
                threading.Thread(target=self.check_segments).start()
            if second % 120 == 50:
                self.rotate()
            if not is_calm and second > 20:
                self.disturb(second)
            if second == int(self.seconds) - CALM_S + 5:
                # The last film is one that no full disk has ended: that would be an exit code of its own.
                self.reload(may_be_wrong=False)
            time.sleep(max(0, begun + second + 1 - time.monotonic()))
        self.end()
        return self.report()

    def disturb(self, second):
        if second % TROUBLE_S == 0:
            name = self.chance.choice(list(self.sources))
            kind, (begin, undo) = self.chance.choice(list(self.sources[name].faults.items()))
            if name not in {one.source for one in self.undo.values() if hasattr(one, "source")}:
                self.did(f"{name}: {kind}")
                begin()
                if undo:
                    self.later(second + self.chance.randrange(3, 15), undo, name)
        if second % RELOAD_S == 30:
            self.reload()
        if second % 150 in (40, 115):
            disk = self.videos if second % 150 == 40 else self.records
            self.did(f"full: {disk.path.name}")
            disk.fill()
            self.later(second + 15, disk.empty, disk.path.name)

    def later(self, second, act, source):
        def undo():
            act()

        undo.source = source
        while second in self.undo:
            second += 1
        self.undo[second] = undo

    def reload(self, may_be_wrong=True):
        self.count()
        self.reloads += 1
        text = self.config_text()
        is_wrong = may_be_wrong and self.reloads % 7 == 0
        self.config.write_text(text.replace("input =", "inptu =", 1) if is_wrong else text)
        if self.reloads % 2:
            self.did("reload by SIGHUP")
            self.child.send_signal(signal.SIGHUP)
            return
        self.did("reload by POST")
        connection = self.visitors.connect()
        status, body = self.visitors.ask(connection, "POST", "/reload")
        connection.close()
        if status != (400 if is_wrong else 200):
            self.faults.append(f"POST /reload is answered {status}: {body[:300]}")

    def count(self):
        """The counters of every source so far; one that ends keeps its last."""
        status, body = self.visitors.get("/sources")
        if status == 200:
            self.counters |= {source["number"]: source for source in json.loads(body)["sources"]}

    def sample(self, second):
        try:
            self.count()
            status, metrics = self.visitors.get("/metrics")
        except OSError as error:
            self.faults.append(f"at {second} s the page does not answer: {error}")
            return
        if second and (status != 200 or "mostream_up 1" not in metrics):
            self.faults.append(f"/metrics is answered {status}")
        rollup = (self.proc / "smaps_rollup").read_text()
        mib = {key.lower() + "_mib": int(re.search(rf"^{key}: +(\d+)", rollup, re.M)[1]) / 1024 for key in ("Rss", "Pss")}
        stat = (self.proc / "stat").read_text().rpartition(")")[2].split()
        self.samples.append({
            "second": second, **{key: round(value, 1) for key, value in mib.items()},
            "descriptors": len(os.listdir(self.proc / "fd")),
            "threads": len(os.listdir(self.proc / "task")),
            "cpu_s": (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
        })

    def rotate(self, is_end=False):
        """As logrotate does: moved away, read, removed."""
        current = self.records.path / "records.jsonl"
        away = self.records.path / f"records.{len(self.acts)}.jsonl"
        if not current.exists():
            return
        current.rename(away)
        # A line that is being written goes into the file that was there.
        time.sleep(0 if is_end else 2)
        self.ledger.read(away)
        shutil.copy(away, self.folder / f"records-{int(time.time())}.jsonl")
        away.unlink()
        (self.records.path / "events.jsonl").unlink(missing_ok=True)

    def check_segments(self, is_end=False):
        """Every file that the program has done with, which is then removed."""
        held = set()
        for descriptor in [] if is_end else (self.proc / "fd").iterdir():
            try:
                held.add(os.readlink(descriptor))
            except OSError:
                pass
        for path in sorted(self.videos.path.glob("*.mp4")):
            if str(path) in held or not is_end and time.time() - path.stat().st_mtime < 5:
                continue
            count, complaint = account.packets(path)
            name = re.sub(r"-\d{8}T\d{6}Z(-\d+)?$", "", path.stem)
            self.packets[name] = self.packets.get(name, 0) + count
            is_played = count > 0 and not complaint
            self.checked[path.name] = is_played
            if not is_played and not any(path.name in told for told in self.told):
                self.faults.append(f"{path.name} does not play, which nobody told: {count} frames, {complaint[:200]}")
                shutil.copy(path, self.folder)
            path.unlink()

    def end(self):
        self.count()
        ready = self.visitors.get("/readyz")
        away = [source["name"] for source in self.counters_now() if source["state"] != "live" and source["name"] in self.sources]
        if ready[0] != 200 or away:
            self.faults.append(f"after {CALM_S} s of calm not all is well: {away}, {ready}")
        self.stop.set()
        before = time.monotonic()
        if self.child.poll() is not None:
            self.faults.append(f"the program has ended by itself with {self.child.returncode}")
        self.child.send_signal(signal.SIGTERM)
        try:
            self.code = self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.code = self.child.wait()
        self.ended_s = time.monotonic() - before
        self.reader.join(5)
        self.rotate(is_end=True)
        self.check_segments(is_end=True)

    def counters_now(self):
        return [source for source in json.loads(self.visitors.get("/sources")[1])["sources"]]

    def report(self):
        judged = []

        def judge(what, is_so, figures):
            judged.append({"what": what, "is_so": bool(is_so), "figures": figures})

        first = [one for one in self.samples if self.seconds / 6 <= one["second"] < self.seconds / 3]
        last = [one for one in self.samples if one["second"] >= self.seconds * 5 / 6]
        rest = [one for one in self.samples if one["second"] >= self.seconds / 6]
        for key, most in RISE.items():
            values = [one[key] for one in rest]
            slope = statistics.linear_regression([one["second"] for one in rest], values).slope if len(rest) > 1 else 0
            medians = [statistics.median(one[key] for one in part) for part in (first, last)]
            # All samples count, where two medians are those of what happened to go on.
            risen = slope * (rest[-1]["second"] - rest[0]["second"])
            figures = {"median_first": medians[0], "median_last": medians[1], "slope_per_hour": slope * 3600, "risen": risen, "rise_at_most": most}
            judge(f"{key} does not rise", risen <= most, figures)
        judge("all lines are records, in their order", not self.ledger.wrong, self.ledger.wrong[:20])
        sources = {}
        for name in self.ledger.lives:
            of_name = [one for one in self.counters.values() if one["name"] == name]
            record_outputs = [output for one in of_name for output in one["outputs"] if output["name"].endswith("records.jsonl")]
            told = sum(output["unwritten"] for output in record_outputs)
            missed, late = (sum(one[key] for one in of_name) for key in ("missed_by_sinks", "late"))
            lives = self.ledger.lives[name]
            sources[name] = {
                "lives": len(lives), "records": sum(life["frames"] for life in lives), "missing": self.ledger.missing(name),
                "unwritten": told, "missed_by_sinks": missed, "late": late, "paused": sum(life["paused"] for life in lives),
                "broken": sum(one["broken"] for one in of_name), "without_end": sum(life["ended"] is None for life in lives),
                "packets": self.packets.get(name, 0),
            }
            is_failing = sum("failing" in output for output in record_outputs)
            if name in self.sources and sources[name]["without_end"] > is_failing:
                self.faults.append(f"{name}: {sources[name]['without_end']} lives have no end, and only {is_failing} ended where the disk was full")
        unaccounted = {name: one for name, one in sources.items() if one["missing"] > one["unwritten"] + one["late"] + one["missed_by_sinks"] or one["missing"] < 0}
        judge("every frame has a record, or is counted as missing", not unaccounted, unaccounted)
        unplayable = [name for name, is_played in self.checked.items() if not is_played]
        judge("every segment plays, or was told to be broken", not any("does not play" in fault for fault in self.faults), {"segments": len(self.checked), "told": unplayable})
        judge("SIGTERM ends it within seconds, with 130", self.code == 130 and self.ended_s < END_S, {"seconds": self.ended_s, "code": self.code})
        judge("clients saw nothing wrong", not self.visitors.complaints, self.visitors.complaints[:20])
        judge("no fault otherwise", not self.faults, self.faults[:50])
        cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
        return {
            "minutes": self.seconds / 60, "machine": f"{os.cpu_count()} cores of {cpu}", "judged": judged, "acts": self.acts,
            "clients": self.visitors.done, "records": dict(self.ledger.kinds), "sources": sources,
            "samples": {key: [one[key] for one in self.samples] for key in self.samples[0]},
        }


def main():
    given = arguments()
    if given.check:
        sys.exit(0 if table.PAGE.read_text() == table.page() else "docs/service.md is not as docs/soak.json has it: python3 tests/soak --keep")
    in_own_namespace()
    soak = Soak(given)
    print(f"everything is in {soak.folder}", flush=True)
    report = soak.run()
    text = "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in report.items()) + "\n}"
    (soak.folder / "report.json").write_text(text)
    if given.keep:
        table.REPORT.write_text(text + "\n")
        table.PAGE.write_text(table.page())
    for one in report["judged"]:
        print("ok  " if one["is_so"] else "BAD ", one["what"], json.dumps(one["figures"])[:1500])
    sys.exit(0 if all(one["is_so"] for one in report["judged"]) else 1)


main()
