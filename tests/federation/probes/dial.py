"""Dials a server task through the gateway with this host's certificate; says whose certificate it saw, and whether
anything came back of what a gRPC client says first."""

import json
import socket
import ssl
import sys

given = json.loads(sys.stdin.readline())
folder = "/etc/fedproc"
context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
context.check_hostname = False
if not given.get("anonymous"):
    context.load_cert_chain(f"{folder}/host.crt", f"{folder}/host.key")
address = socket.gethostbyname("api.fedproc.test")
answered, shown = False, ""
try:
    with socket.create_connection((address, 443), 20) as raw:
        with context.wrap_socket(raw, server_hostname=given["name"]) as stream:
            subject = dict(part[0] for part in stream.getpeercert()["subject"])
            shown = subject["commonName"]
            stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            answered = bool(stream.recv(16))
except OSError:
    pass
print(json.dumps({"certificate": shown, "answered": answered}))
