"""One run that sends to four receivers for a quarter of an hour: all are away for ten minutes, then brokers and the program are killed fifty times,
then they are full, slow and refusing. Every line of the run's own file has to have arrived, or a gap tells that it has not.

`python3 tests/soak/outage.py [PROGRAM] [--away SECONDS] [--kills N] [--keep]`; `--keep` writes the figures to docs/outage.json."""

import argparse
import base64
import http.server
import json
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = 8


def free_port():
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


class Broker:
    """A program that listens, which is killed and started again with what it had on its disk."""

    def __init__(self, name, port, *command):
        self.name, self.port, self.command, self.process = name, port, [str(word) for word in command], None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(400):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit(f"{self.name} does not listen")

    def end(self, is_killed):
        (self.process.kill if is_killed else self.process.terminate)()
        self.process.wait()


class Hook:
    """A web server that takes messages, and notes those that it has said so of."""

    def __init__(self, port):
        self.port, self.lines, self.status, self.delay, self.server = port, [], 200, 0, None

    def start(self):
        hook = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(hook.delay)
                if hook.status == 200:
                    said = json.loads(body)
                    hook.lines.extend(said if isinstance(said, list) else [said])
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self, is_killed):
        self.server.shutdown()
        self.server.server_close()


def nats_lines(port, stream):
    """Everything in a stream, in its order."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = connection.makefile("rb")
        file.readline()
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB in 1\r\n')

        def ask(questions):
            """Many at a time, of which the answers come in turn."""
            connection.sendall(b"".join(f"PUB {subject} in {len(body)}\r\n{body}\r\n".encode() for subject, body in questions))
            left = len(questions)
            while left:
                said = file.readline().split()
                if said[:1] == [b"PING"]:
                    connection.sendall(b"PONG\r\n")
                elif said[:1] == [b"MSG"]:
                    left -= 1
                    yield json.loads(file.read(int(said[-1]) + 2))

        state = next(ask([(f"$JS.API.STREAM.INFO.{stream}", "")]))["state"]
        numbers = range(state["first_seq"], state["last_seq"] + 1)
        found = {}
        for at in range(0, len(numbers), 200):
            for answer in ask([(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps({"seq": number})) for number in numbers[at : at + 200]]):
                if "message" in answer:
                    found[answer["message"]["seq"]] = json.loads(base64.b64decode(answer["message"]["data"]))
        return [found[number] for number in sorted(found)]


def redis_lines(port, stream):
    start = "-"
    while True:
        asked = subprocess.run(["redis-cli", "-p", str(port), "--json", "XRANGE", stream, start, "+", "COUNT", "5000"], capture_output=True, check=True)
        letters = json.loads(asked.stdout)
        if not letters:
            return
        for _, fields in letters:
            yield json.loads(fields[fields.index("body") + 1])
        start = "(" + letters[-1][0]


class Subscriber:
    """Reads what a broker of MQTT has, with a session that outlives both."""

    def __init__(self, port):
        self.lines = []
        command = ["mosquitto_sub", "-p", str(port), "-q", "1", "-i", "reader", "-c", "-t", "site/#"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))


def name(line):
    return tuple(str(line.get(key)) for key in ("run", "source", "kind", "frame", "at_unix_ns", "phase"))


def lost(file, arrived):
    """Lines that did neither arrive nor are in a gap; first arrivals that are out of their order; repeats."""
    seen, last, disorder, repeats = set(), {}, 0, 0
    gaps = [line for line in arrived if line["kind"] == "gap"]
    for line in arrived:
        if name(line) in seen:
            repeats += 1
            continue
        seen.add(name(line))
        if line["kind"] == "frame":
            of = (line["run"], line["source"])
            disorder += line["frame"] <= last.get(of, -1)
            last[of] = line["frame"]

    def is_told(line):
        of = [gap for gap in gaps if gap["source"] == line["source"] and gap.get("run") in (None, line["run"])]
        return any(gap["first_frame"] <= line["frame"] <= gap["last_frame"] for gap in of if line["kind"] == "frame" and gap.get("first_frame") is not None)

    missing = [line for line in file if name(line) not in seen]
    return {
        "lines": len(file), "arrived": len(seen), "repeats": repeats, "disorder": disorder, "gaps": len(gaps),
        "told": sum(map(is_told, missing)), "lost": sum(not is_told(line) for line in missing),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default=ROOT / "target/release/mostream")
    parser.add_argument("--away", type=float, default=600)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    program = str(pathlib.Path(given.program).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mostream-outage-"))
    ports = {who: free_port() for who in ("mosquitto", "nats", "redis", "hook", "page")}
    (folder / "mosquitto.conf").write_text(
        f"user root\nlistener {ports['mosquitto']} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
    )
    (folder / "nats.conf").write_text(f"listen: 127.0.0.1:{ports['nats']}\njetstream {{ store_dir: \"{folder}/nats\" }}\n")
    (folder / "redis.conf").write_text(f"bind 127.0.0.1\nport {ports['redis']}\ndir {folder}\nappendonly yes\nappendfsync always\nsave \"\"\n")
    mosquitto = Broker("mosquitto", ports["mosquitto"], "/usr/sbin/mosquitto", "-c", folder / "mosquitto.conf")
    nats = Broker("nats-server", ports["nats"], "/usr/sbin/nats-server", "-c", folder / "nats.conf")
    redis = Broker("redis-server", ports["redis"], "/usr/bin/redis-server", folder / "redis.conf")
    hook = Hook(ports["hook"])
    receivers = [mosquitto, nats, redis, hook]
    for receiver in receivers:
        receiver.start()
    subscriber = Subscriber(ports["mosquitto"])
    with socket.create_connection(("127.0.0.1", ports["nats"])) as connection:
        stream = json.dumps({"name": "site", "subjects": ["site.>"]})
        connection.sendall(f'CONNECT {{"verbose":false}}\r\nPUB $JS.API.STREAM.CREATE.site in {len(stream)}\r\n{stream}\r\nPING\r\n'.encode())
        time.sleep(1)
    tables = [
        f'to = "mqtt://127.0.0.1:{ports["mosquitto"]}"\nname = "mqtt"\ntopic = "site/{{source}}/{{kind}}"',
        f'to = "nats://127.0.0.1:{ports["nats"]}"\nname = "nats"\ntopic = "site.{{source}}.{{kind}}"',
        f'to = "redis://127.0.0.1:{ports["redis"]}"\nname = "redis"\ntopic = "site"',
        f'to = "http://127.0.0.1:{ports["hook"]}/"\nname = "hook"',
    ]
    cameras = [
        f'name = "camera{number}"\ninput = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! appsink name=frames"'
        for number in range(SOURCES)
    ]
    head = f'records = "r.jsonl"\nweb = "127.0.0.1:{ports["page"]}"\nno-scene = true\nsize = "64x48"\nexact = true\nevery = 25\n'
    (folder / "run.toml").write_text(head + "".join(f"[[publish]]\n{table}\n" for table in tables) + "".join(f"[[source]]\n{camera}\n" for camera in cameras))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    log = (folder / "log").open("ab")

    def start():
        return subprocess.Popen([program, "--quiet", "run", "--config", "run.toml"], cwd=folder, env=environment, stdout=log, stderr=log)

    run = start()
    memory, began = [], time.monotonic()

    def look(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(5, max(0.0, until - time.monotonic())))
            status = pathlib.Path(f"/proc/{run.pid}/status")
            kib = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")] if status.exists() else []
            memory.extend(kib)

    chance, kills = random.Random(1), {}
    look(15)
    print("all are away", flush=True)
    for receiver in receivers:
        receiver.end(is_killed=receiver is not mosquitto)
    before = len(memory)
    look(given.away)
    while_away = memory[before:]
    for receiver in receivers:
        receiver.start()
    look(30)
    print("they are killed", flush=True)
    for _ in range(given.kills):
        who = chance.choice([*receivers, "program"])
        kills[getattr(who, "name", "hook" if who is hook else "program")] = kills.get(getattr(who, "name", "hook" if who is hook else "program"), 0) + 1
        if who == "program":
            run.kill()
            run.wait()
            look(chance.uniform(0, 1))
            run = start()
        else:
            # What mosquitto has acknowledged and not written down would be its own loss.
            who.end(is_killed=who is not mosquitto)
            look(chance.uniform(0, 3))
            who.start()
        look(chance.uniform(0, 4))
    print("they are full, slow and refusing", flush=True)
    subprocess.run(["redis-cli", "-p", str(ports["redis"]), "CONFIG", "SET", "maxmemory", "1mb"], stdout=subprocess.DEVNULL, check=True)
    hook.status = 503
    look(20)
    hook.status, hook.delay = 200, 0.5
    subprocess.run(["redis-cli", "-p", str(ports["redis"]), "CONFIG", "SET", "maxmemory", "0"], stdout=subprocess.DEVNULL, check=True)
    look(20)
    hook.delay = 0
    look(60)
    run.terminate()
    run.wait()
    time.sleep(3)
    lines = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines() if line.endswith("}")]
    # What was on its way from the file to the spools when the program was killed: the last of each source then.
    order, last = [], {}
    for line in lines:
        if line.get("kind") == "frame":
            last[(line["run"], line["source"])] = name(line)
        if line["run"] not in order:
            order.append(line["run"])
    cut = {at for (of, _), at in last.items() if of != order[-1]}
    file = [line for line in lines if name(line) not in cut]
    arrived = {
        "mqtt": subscriber.lines, "nats": nats_lines(ports["nats"], "site"), "redis": list(redis_lines(ports["redis"], "site")), "hook": hook.lines,
    }
    report = {
        "seconds": round(time.monotonic() - began), "away": given.away, "kills": kills, "runs": len(order),
        "memory_mib": {"while_away_first": while_away[3:4] and while_away[3] // 1024, "while_away_last": while_away[-1] // 1024, "most": max(memory) // 1024},
        "receivers": {who: lost(file, letters) for who, letters in arrived.items()},
    }
    print(json.dumps(report, indent=1))
    subscriber.process.kill()
    for receiver in receivers:
        receiver.end(is_killed=True)
    if any(one["lost"] or one["disorder"] for one in report["receivers"].values()):
        sys.exit(f"lost, or out of order: {folder}")
    if given.keep:
        (ROOT / "docs/outage.json").write_text(json.dumps(report, indent=1) + "\n")


main()
