"""Learns, offline: reads histories and turns labels into artifacts. The service never needs it."""
