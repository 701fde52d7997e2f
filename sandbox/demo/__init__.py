"""The demo: three environments on this machine, their nights one after another, and what came of it.

`scene` starts the servers, `databases` and `seed` fill them with invented people, `nights` runs the three
DAGs, `search` looks for every invented value afterwards, `show` prints. `python -m sandbox.demo` does all.
"""
