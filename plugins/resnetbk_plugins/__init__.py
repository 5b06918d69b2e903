"""The first-party components: one folder per kind, one file per component; see registry.toml.

`name.py` holds a component and imports no torch. The part of it that needs torch is beside it in
`name_module.py`, which `build` imports. Any other file is shared by components and named after what it holds.
"""
