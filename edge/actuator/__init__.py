"""Decisions become movements: devices with their limits, at most one movement for each id.

message -> guard (pure) -> Mover -> Worker, one thread a device -> Device -> Ack
"""
