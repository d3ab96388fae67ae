"""A fault proxy for TCP that speaks the HTTP API of Toxiproxy 2.12.0.

Source of the protocol: https://github.com/Shopify/toxiproxy, read at f48fd7f.
Where it differs from the original, on purpose:

- ``GET /proxies/{name}`` has one more key, ``stats``: live counters that prove that
  traffic flows: ``connections`` accepted, ``refused`` (accepted, but the upstream could
  not be reached within 5 s), ``bytes_upstream`` and ``bytes_downstream`` delivered to
  the far side, ``dropped_bytes`` thrown away by toxics, ``resets`` sent by
  ``reset_peer``.
- A half-closed connection stays open the other way; a slow dial holds up nobody else.
- ``reset_peer`` resets connections older than itself, and none after its removal or at
  toxicity 0; its timeout ends at once when it is removed.
- ``bandwidth`` at rate 0 stops the data without work; a negative rate is refused, 400.
- ``timeout`` closes on removal only the connections that its toxicity had hit.
- Toxicity is rolled when a connection meets a toxic and when that toxic is updated, not
  when a neighbour changes; ``-seed`` decides every roll and jitter, by the number of
  the connection on its proxy and the toxic's name.
- ``POST /reset`` resets every proxy, and then reports the first that could not start.
- An address without a host listens on 127.0.0.1, not on every interface.
- A ``-config`` that cannot be used ends the program; the original goes on without.
- ``slicer`` at ``average_size`` 0, of which the original dies, cuts nothing; a negative
  size is refused, 400.
- No ``/metrics``: ``stats`` stands in its place.
"""
