"""From a spec to a model that runs: see assemble.py, then trunk.py."""
