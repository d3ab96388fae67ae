"""toxiproxy-python, the original's own client, drives this fault proxy."""

from collections.abc import Iterator

import pytest
import toxiproxy
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from tests.integration.test_toxiproxy_process import (
    connect,
    echo,
    receive,
    running,
    upstream,
)


@pytest.fixture
def server() -> Iterator[toxiproxy.Toxiproxy]:
    """The client, whose address belongs to its class and is put back after."""
    before = APIConsumer.host, APIConsumer.port
    with running() as (client, _):
        driver = toxiproxy.Toxiproxy()
        driver.update_api_consumer(client.url.host, client.url.port)
        yield driver
    driver.update_api_consumer(*before)


def answers(address: str) -> bool:
    """Whether an echo comes back through the proxy."""
    with connect(address) as connection:
        connection.sendall(b"ping")
        return receive(connection, 4) == b"ping"


def test_it_drives_a_proxy(server: toxiproxy.Toxiproxy) -> None:
    """Create, disable, poison, reset and destroy: all as against the original."""
    with upstream(echo) as address:
        proxy = server.create(upstream=address, name="p")
        assert server.running()
        assert server.version() == b'{"version": "2.12.0"}\n'
        assert answers(proxy.listen)

        with proxy.down(), pytest.raises(ConnectionRefusedError):
            connect(proxy.listen)
        assert answers(proxy.listen)

        proxy.add_toxic(type="limit_data", attributes={"bytes": 0})
        assert proxy.get_toxic("limit_data_downstream").attributes == {"bytes": 0}
        assert not answers(proxy.listen)
        assert proxy.destroy_toxic("limit_data_downstream")
        assert proxy.toxics() == {}

        proxy.add_toxic(type="timeout", stream="upstream", name="t", toxicity=0.5)
        assert proxy.get_toxic("t").toxicity == 0.5
        server.reset()
        assert proxy.toxics() == {}

        assert server.destroy(proxy)
        assert server.proxies() == {}


def test_it_populates(server: toxiproxy.Toxiproxy) -> None:
    """Its populate makes what is missing and leaves alone what is the same."""
    made = server.populate([{"name": "p", "upstream": "a:1", "listen": "127.0.0.1:0"}])
    again = {"name": "p", "upstream": "a:1", "listen": made[0].listen}
    assert server.populate([again]) == []
    assert server.get_proxy("p").listen == made[0].listen


def test_its_errors_are_the_original_ones(server: toxiproxy.Toxiproxy) -> None:
    """Each refusal becomes the exception that the client has for it."""
    proxy = server.create(upstream="a:1", name="p")
    with pytest.raises(InvalidToxic, match="invalid toxic type"):
        proxy.add_toxic(type="none")
    proxy.add_toxic(type="noop")
    with pytest.raises(ProxyExists, match="toxic already exists"):
        proxy.add_toxic(type="noop")
    with pytest.raises(NotFound, match="toxic not found"):
        proxy.destroy_toxic("none")
