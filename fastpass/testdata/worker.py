import os, socket

link = socket.socket(fileno=int(os.environ["FASTPASS_FD"]))
while True:
    data, fds, flags, _ = socket.recv_fds(link, 4096, 253)  # the kernel drops what there is no room for here
    if not data:
        break  # the front has ended
    for fd in fds:
        with socket.socket(fileno=fd) as client:
            client.setblocking(True)  # connections come in non-blocking mode
            try:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\nhello from Python\n")
            except OSError:
                pass  # this client has gone away; the others have not
