# A server of the garden on Python's http.server, which reads request lines and fields; content is read here, as its users have to.
# Argument: a port of 127.0.0.1. Every request that it has seen is a line of JSON on standard output, and is answered with its target in X-Seen.
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

lock = Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def parse_request(self):
        # What it reads as the beginning of a request, and cannot read further, is a request that it has seen as well.
        if super().parse_request():
            return True
        self.tell(0, False)
        return False

    def tell(self, length, complete):
        fields = getattr(self, "headers", None)
        # It makes /a of //a: here it is as it came.
        target = (self.requestline.split() + ["", ""])[1]
        identity = (fields.get("X-Correlation-ID") if fields else None) or ""
        line = {"method": self.command or "", "target": target, "length": length, "id": identity, "complete": complete}
        with lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()

    def read_exactly(self, size):
        content = self.rfile.read(size)
        if len(content) < size:
            raise EOFError
        return content

    def read_chunks(self):
        length = 0
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            if size == 0:
                break
            length += len(self.read_exactly(size))
            self.read_exactly(2)
        while True:
            line = self.rfile.readline()
            if line == b"":
                raise EOFError
            if line in (b"\r\n", b"\n"):
                return length

    def answer(self):
        try:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                length = self.read_chunks()
            else:
                length = len(self.read_exactly(int(self.headers.get("Content-Length", 0))))
        except (EOFError, ValueError, OSError):
            self.tell(0, False)
            self.close_connection = True
            return
        self.tell(length, True)
        self.send_response(200)
        self.send_header("X-Seen", self.requestline.split()[1])
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"seen\n")

    def __getattr__(self, name):
        # Whatever the method is.
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *_):
        pass


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
