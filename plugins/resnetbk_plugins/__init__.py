"""The first-party components: one folder a kind, one file a component; see registry.toml.

`name.py` holds a component and imports no torch. The part of it that needs torch stands beside it in
`name_module.py`, which `build` imports. Any other file is shared by components of its folder.
"""
