"""What `resnetbk new` writes."""
