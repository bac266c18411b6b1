"""A small server: answers each connection at a unix socket, and ends when it is asked to."""

import os
import signal
import socket
import sys

name = sys.argv[1]
path = name + ".sock"
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
signal.signal(signal.SIGTERM, lambda *_: (print(name, "ends", flush=True), sys.exit(0)))
print(name, "listens", flush=True)
listener.listen()
while True:
    connection, _ = listener.accept()
    connection.close()
