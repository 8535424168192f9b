"""Clients that come and go: of the page, of what it streams, of changes, and of the annotated video."""

import http.client
import json
import random
import socket
import struct
import subprocess
import threading
import time


class Visitors:
    """Threads that do their own until `stop`; what they see that they should not is in `complaints`."""

    def __init__(self, page, token, rtsp, cameras, stop):
        self.page, self.token, self.rtsp, self.cameras, self.stop = page, token, rtsp, cameras, stop
        self.complaints, self.done, self.lock = [], {}, threading.Lock()
        for number, act in enumerate((self.look, self.look, self.follow, self.events, self.slow, self.half_open, self.change, self.watch, self.idle_watch)):
            threading.Thread(target=self.repeat, args=(act, random.Random(number)), daemon=True).start()

    def repeat(self, act, chance):
        while not self.stop.wait(chance.uniform(1, 8)):
            name = act.__name__
            try:
                act(chance)
            except (OSError, http.client.HTTPException) as error:
                # Somebody else needed the place, or it was too slow.
                name = f"{name}: {type(error).__name__}"
            except Exception as error:
                self.complain(f"{name}: {error!r}")
            with self.lock:
                self.done[name] = self.done.get(name, 0) + 1

    def complain(self, what):
        with self.lock:
            self.complaints.append(what)

    def sleep(self, seconds):
        return self.stop.wait(seconds)

    def connect(self):
        return http.client.HTTPConnection(*self.page, timeout=20)

    def ask(self, connection, method, path, body=None, token=None, headers=()):
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"} | dict(headers)
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def get(self, path):
        """What is at a path, as text."""
        connection = self.connect()
        status, body = self.ask(connection, "GET", path)
        connection.close()
        return status, body.decode()

    def look(self, chance):
        """The page, as a browser asks for it."""
        connection = self.connect()
        for path in ("/", "/page.css", "/page.js", "/timeline.js", "/zones.js"):
            status = self.ask(connection, "GET", path)[0]
            if status != 200:
                self.complain(f"{path} is answered {status}")
        until = time.monotonic() + chance.uniform(5, 60)
        while time.monotonic() < until and not self.sleep(0.5):
            for source in json.loads(self.ask(connection, "GET", "/sources")[1])["sources"]:
                status = self.ask(connection, "GET", f"/sources/{source['number']}/picture.jpg")[0]
                if status not in (200, 204, 404):
                    self.complain(f"a picture is answered {status}")
            self.ask(connection, "GET", "/events.json?limit=50")
        if chance.random() < 0.5:
            connection.close()

    def stream(self, path, seconds, headers=()):
        """Objects of server-sent events, with their numbers."""
        connection = self.connect()
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"} | dict(headers))
        answer = connection.getresponse()
        if answer.status != 200:
            self.complain(f"{path} is answered {answer.status}")
        until = time.monotonic() + seconds
        number = None
        while time.monotonic() < until and not self.stop.is_set():
            line = answer.readline()
            if not line:
                break
            if line.startswith(b"id:"):
                number = int(line[3:])
            if line.startswith(b"data:"):
                yield number, json.loads(line[5:])
        connection.close()

    def follow(self, chance):
        """Records, of all or of one: frames of each source in their order."""
        source = chance.choice(["", "?source=door", "?source=hall"])
        last = {}
        for _, line in self.stream("/records" + source, chance.uniform(5, 60)):
            if line.get("kind") == "end":
                last.pop(line["source"], None)
            if line.get("kind") == "frame":
                before = last.get(line["source"], -1)
                if line["frame"] <= before and line["frame"] != 0:
                    self.complain(f"/records: {line['source']}: frame {line['frame']} after {before}")
                last[line["source"]] = line["frame"]

    seen = None

    def events(self, chance):
        """From the last number on: none twice."""
        headers = {} if self.seen is None else {"Last-Event-ID": str(self.seen)}
        for number, line in self.stream("/events", chance.uniform(5, 40), headers):
            if line["seq"] != number:
                self.complain(f"/events: seq {line['seq']} has the id {number}")
            if self.seen is not None and number <= self.seen:
                self.complain(f"/events: {number} after {self.seen}")
            self.seen = number

    def raw(self, path="/records"):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.settimeout(20)
        stream.connect(self.page)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
        return stream

    def slow(self, chance):
        """Asks, and reads nothing, or a byte now and then."""
        stream = self.raw(chance.choice(["/records", "/events?after=0", "/sources/0/stream.mjpg"]))
        until, reads = time.monotonic() + chance.uniform(5, 40), chance.random() < 0.5
        while time.monotonic() < until and not self.sleep(0.5):
            if reads and not stream.recv(64):
                break
        stream.close()

    def half_open(self, chance):
        """Connections that ask nothing, or half of something."""
        streams = [socket.create_connection(self.page, 20) for _ in range(chance.randrange(2, 12))]
        streams += [socket.create_connection(self.rtsp, 20) for _ in range(2)]
        for stream in streams[::2]:
            stream.sendall(chance.choice([b"GET /rec", b"POST /sources HTTP/1.1\r\nContent-Length: 9999\r\n\r\n{", b"OPTIONS rtsp://"]))
        self.sleep(chance.uniform(2, 30))
        for stream in streams:
            if chance.random() < 0.5:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()

    def change(self, chance):
        """A camera comes and goes over HTTP; what is refused is refused."""
        connection = self.connect()

        def expect(wanted, *asked, **more):
            status, body = self.ask(connection, *asked, **more)
            if status != wanted:
                self.complain(f"{asked} is answered {status}, not {wanted}: {body[:200]}")
            return json.loads(body) if status == wanted and body.startswith(b"{") else {}

        expect(401, "POST", "/sources", {"input": "rtsp://127.0.0.1:9/x"}, token="another-token")
        expect(400, "POST", "/sources", {"inptu": "rtsp://127.0.0.1:9/x"})
        expect(404, "DELETE", "/sources/9999999")
        added = expect(201, "POST", "/sources", {"input": chance.choice(self.cameras), "name": f"guest-{chance.randrange(3)}", "every": 3}).get("added")
        if added:
            number = added[0]["number"]
            self.sleep(chance.uniform(1, 10))
            expect(200, "POST", f"/sources/{number}/pause")
            expect(200, "POST", f"/sources/{number}/resume")
            expect(200, "PUT", f"/sources/{number}/regions", {"mask": [{"polygon": [[0, 0], [0.3, 0], [0.3, 0.3]]}]})
            self.sleep(chance.uniform(1, 10))
            expect(200, "DELETE", f"/sources/{number}")
        connection.close()

    def watch(self, chance):
        """The annotated video, by a real player."""
        name = chance.choice(["door", "yard", "gate", "hall", "shop"])
        transport = chance.choice(["tcp", "udp"])
        url = f"rtsp://{self.rtsp[0]}:{self.rtsp[1]}/{name}"
        line = f"ffmpeg -v error -rtsp_transport {transport} -i {url} -t {chance.randrange(2, 15)} -c copy -f null -"
        try:
            subprocess.run(line.split(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
        except subprocess.TimeoutExpired:
            pass

    def idle_watch(self, chance):
        """Somebody who asks for the video and reads little of it, or nothing, and goes without a word."""
        url = f"rtsp://{self.rtsp[0]}:{self.rtsp[1]}/{chance.choice(['door', 'yard', 'gate'])}"
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.settimeout(20)
        stream.connect(self.rtsp)
        asked = 0

        def ask(method, target, *headers):
            nonlocal asked
            asked += 1
            stream.sendall("\r\n".join([f"{method} {target} RTSP/1.0", f"CSeq: {asked}", *headers, "", ""]).encode())
            return stream.recv(4096).decode(errors="replace")

        ask("DESCRIBE", url, "Accept: application/sdp")
        if chance.random() < 0.8:
            answer = ask("SETUP", url + "/stream=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            session = next((line.split(":")[1].split(";")[0].strip() for line in answer.splitlines() if line.startswith("Session:")), None)
            if session and chance.random() < 0.8:
                ask("PLAY", url, f"Session: {session}")
        self.sleep(chance.uniform(2, 40))
        stream.close()
