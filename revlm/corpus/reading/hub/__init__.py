"""Reads datasets on the Hugging Face hub, and local folders laid out like one: addresses, rows, errors."""
