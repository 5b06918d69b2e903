"""The specs that are shipped, as data of a package: `resnetbk specs` lists them."""
