"""Sources that go, stall, lose packets and change size."""

import http.server
import os
import pathlib
import random
import signal
import socket
import socketserver
import subprocess
import threading
import time


def free_port():
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return tcp.getsockname()[1]


class Process:
    """A child that is started, frozen, ended and started again with another command."""

    def __init__(self, command):
        self.command, self.child = command, None
        self.start()

    def start(self):
        self.child = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self):
        self.child.kill()
        self.child.wait()

    def freeze(self):
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.child.send_signal(signal.SIGCONT)


class Source:
    """What makes the frames of one source of the run: its faults are pairs of functions, to begin and to end each."""

    def __init__(self, url, faults):
        self.url, self.faults = url, faults


SIZES = ["160x120", "320x240", "240x180", "128x96"]


class Resizing:
    """The command of a process, with the next size at each start."""

    def __init__(self, command):
        self.command, self.count = command, 0
        self.process = Process(self.next())

    def next(self):
        self.count += 1
        return self.command(SIZES[self.count % len(SIZES)])

    def begin(self):
        self.process.end()
        time.sleep(1)
        self.process.command = self.next()
        self.process.start()

    def faults(self):
        process = self.process
        return {"size": (self.begin, None), "gone": (process.end, process.start), "frozen": (process.freeze, process.thaw)}


class Wire:
    """A TCP proxy that passes on, swallows, garbles or cuts what comes."""

    def __init__(self, target):
        self.target, self.does, self.open = target, "pass", []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near = self.listener.accept()[0]
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 2)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            if self.does == "cut":
                near.close()
                far.close()
                continue
            self.open = [one for one in self.open if one.fileno() >= 0] + [near, far]
            for pair in ((near, far, False), (far, near, True)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def carry(self, source, sink, is_answer):
        try:
            while data := source.recv(16384):
                if self.does == "swallow":
                    continue
                if self.does == "garble" and is_answer:
                    data = bytes(byte ^ (at * 167 + 13 & 255) for at, byte in enumerate(data))
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def now(self, does):
        self.does = does
        for end in self.open if does in ("cut", "pass") else []:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def faults(self):
        def fault(does):
            return (lambda: self.now(does), lambda: self.now("pass"))

        return {does: fault(does) for does in ("swallow", "cut", "garble")}


class Lossy:
    """Passes datagrams on, and loses a share of them."""

    def __init__(self, target):
        self.target, self.loss = target, 0.0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.carry, daemon=True).start()

    def carry(self):
        chance = random.Random(1)
        while True:
            data = self.socket.recv(65536)
            if chance.random() >= self.loss:
                self.socket.sendto(data, ("127.0.0.1", self.target))

    def faults(self):
        def lose(share):
            self.loss = share

        return {"loss": (lambda: lose(0.1), lambda: lose(0)), "silence": (lambda: lose(1), lambda: lose(0))}


class Web:
    """A web server with moving JPEGs at /mjpeg, and the files of a folder: the playlist of HLS."""

    def __init__(self, folder, pictures):
        self.folder, self.pictures, self.does, self.size = folder, pictures, "pass", 0
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                try:
                    web.mjpeg(self) if self.path == "/mjpeg" else web.file(self)
                except OSError:
                    pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        server = Server(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def mjpeg(self, request):
        if self.does == "refuse":
            return request.send_error(503)
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        request.end_headers()
        number = 0
        while self.does != "close":
            if self.does in ("pass", "broken"):
                pictures = self.pictures[self.size % len(self.pictures)]
                picture = pictures[number % len(pictures)]
                if self.does == "broken":
                    picture = picture[: len(picture) // 2]
                number += 1
                request.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture))
                request.wfile.write(picture + b"\r\n")
            time.sleep(0.2)

    def file(self, request):
        path = self.folder / pathlib.Path(request.path).name
        if not path.is_file():
            return request.send_error(404)
        data = path.read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def faults(self):
        def now(does):
            self.does = does

        def resize():
            self.size += 1

        def fault(does):
            return (lambda: now(does), lambda: now("pass"))

        return {"size": (resize, None)} | {does: fault(does) for does in ("stall", "close", "refuse", "broken")}


def launch(line):
    return ["gst-launch-1.0", "-q", *line.split()]


def test_pictures(size, more=""):
    width, height = size.split("x")
    return (
        f"videotestsrc is-live=true pattern=ball {more} ! video/x-raw,format=I420,width={width},height={height},framerate=5/1 "
        "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10"
    )


def jpegs(folder, size):
    """Some moving pictures of this size."""
    line = "ffmpeg -v error -y -f lavfi -i testsrc=size={}:rate=5 -t 4 {}/%02d.jpg".format(size, folder)
    folder.mkdir(parents=True)
    subprocess.run(line.split(), check=True)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def make(camera, folder, login):
    """Eight kinds of sources, by name. `camera` is the program examples/rtsp_camera.rs, `login` user and password of one of them."""
    user, password = login
    slow = ["--fps", "5", "--key-frames", "10", "--codec", "h264"]
    door_port, gate_port, yard_port, udp, rtp = (free_port() for _ in range(5))
    door = Process([camera, str(door_port), *slow, "--user", user, "--password", password])
    yard = Process([camera, str(yard_port), *slow])
    gate = Resizing(lambda size: [camera, str(gate_port), *slow, "--size", size])
    wire = Wire(yard_port)
    shop = Resizing(lambda size: launch(f"{test_pictures(size)} ! mpegtsmux alignment=7 ! udpsink host=127.0.0.1 port={udp}"))
    lossy = Lossy(rtp)
    Process(launch(f"{test_pictures('320x240')} ! rtph264pay pt=96 config-interval=1 mtu=400 ! udpsink host=127.0.0.1 port={lossy.port}"))
    playlist = folder / "hls"
    playlist.mkdir()
    hls = Process(launch(
        f"{test_pictures('160x120')} ! h264parse ! hlssink2 location={playlist}/part%05d.ts playlist-location={playlist}/live.m3u8 "
        "target-duration=2 max-files=6 playlist-length=4"
    ))
    web = Web(playlist, [jpegs(folder / "jpegs" / size, size) for size in ("160x120", "320x240")])
    served = f"http://127.0.0.1:{web.port}"
    return {
        "door": Source(f"rtsp://127.0.0.1:{door_port}/live", {"gone": (door.end, door.start), "frozen": (door.freeze, door.thaw)}),
        "yard": Source(f"rtsp://127.0.0.1:{wire.port}/live", wire.faults()),
        "gate": Source(f"rtsp://127.0.0.1:{gate_port}/live", gate.faults()),
        "hall": Source(f"{served}/mjpeg", web.faults()),
        "lawn": Source(f"{served}/live.m3u8", {"gone": (hls.end, hls.start), "frozen": (hls.freeze, hls.thaw)}),
        "shop": Source(f"udp://127.0.0.1:{udp}", shop.faults()),
        "road": Source(f"rtp://127.0.0.1:{rtp}", lossy.faults()),
    }
