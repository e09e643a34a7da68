"""Measurements that users can repeat: ``ctxpack bench``."""
