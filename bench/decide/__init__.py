"""How soon and how falsely a rule rolls back: ours beside its peers, on equal traffic.

`python -m bench.decide --help`. Read in this order: traffic, ours, rules, clairvoyant,
figures, ratios, cost, page, plot.
"""
