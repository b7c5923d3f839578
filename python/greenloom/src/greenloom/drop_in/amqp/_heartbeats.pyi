from logging import Logger

AMQP_HEARTBEAT_LOGGER: Logger

class Heartbeats:
    heartbeat: float | None
    client_heartbeat: float | None
    server_heartbeat: float | None
    last_heartbeat_sent: float
    last_heartbeat_received: float
    bytes_sent: int
    bytes_recv: int
    prev_sent: int | None
    prev_recv: int | None
    def send_heartbeat(self) -> None: ...
    def heartbeat_tick(self, rate: float = 2) -> None: ...
