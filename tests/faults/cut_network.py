"""A network between a worker and its servers: a proxy that can cut connections or go silent."""

import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

BYTES = 2**16


@dataclass
class Link:
    """Forwards a TCP port of this machine to the Unix socket of a server.

    While it `is_silent` it forwards nothing; `held_back` then counts how often there was something.
    """

    target: Path
    is_silent: bool = False
    held_back: int = 0
    port: int = field(init=False)
    _pairs: set[tuple[socket.socket, socket.socket]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Close all connections, and return how many; new ones are accepted."""
        pairs = list(self._pairs)
        for pair in pairs:
            self._close(pair)
        return len(pairs)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(caller,), daemon=True).start()

    def _connect(self, caller: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self.target))
        except OSError:
            caller.close()
            return
        pair = caller, server
        self._pairs.add(pair)
        self._forward(pair)

    def _forward(self, pair: tuple[socket.socket, socket.socket]) -> None:
        caller, server = pair
        with selectors.DefaultSelector() as ready, suppress(OSError, ValueError):
            ready.register(caller, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, caller)
            while caller.fileno() >= 0:
                for key, _ in ready.select(0.2):
                    if self.is_silent:
                        self.held_back += 1
                        time.sleep(0.1)
                        continue
                    data = key.fileobj.recv(BYTES)
                    if not data:
                        raise ConnectionError
                    key.data.sendall(data)
        self._close(pair)

    def _close(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
